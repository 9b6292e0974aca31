"""A log likelihood, and beside it how long the image is in a code that knows nothing of the data.

Serra et al. 2020, "Input complexity and out-of-distribution detection with likelihood-based
generative models", arXiv:1909.11480.
"""

import torch
from torch import Tensor

from models.core.contract.columns import Column
from models.core.contract.grid import Grid
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.derived.around import Around, P
from models.core.derived.png_length import code_bits, half_size

MOST_LEVELS = 256
"""Grey levels that a byte of the code can hold."""
_CODES = ("code_bits", "half_code_bits")


class InputComplexity(Around[P]):
    """All columns of a log_likelihood, and the lengths of two codes of the image, (B,) each:
    code_bits of it as it is, half_code_bits at half its height and width.

    The codes are of the levels that the model sees, a byte each, be they 256 or fewer.
    """

    def __init__(self, log_likelihood: Operation[P], grid: Grid) -> None:
        """Raises ValueError for levels that are not those of images."""
        super().__init__(log_likelihood)
        if grid.num_levels > MOST_LEVELS:
            raise ValueError(f"{grid.num_levels} levels: accepted are up to {MOST_LEVELS}")
        self.grid = grid
        self.outputs = {**log_likelihood.outputs, **dict.fromkeys(_CODES, Column())}

    @property
    def examples(self) -> tuple[P, ...]:
        """The default alone: what others reach is the inner program's."""
        return (self.default_params,)

    def init(self, inputs: Rows, params: P) -> Rows:
        coded = self.grid.levels(inputs["x"].cpu()).to(torch.uint8)
        unknown = dict.fromkeys(_CODES, torch.full((num_rows(inputs),), -1.0))
        return {**self.inner.init(inputs, params), "coded": coded, **unknown}

    def step(self, rows: Rows) -> Rows:
        """In a row's first step its codes too, since the engine measures what steps cost."""
        bits = _completed({name: rows[name] for name in _CODES}, rows["coded"])
        return {**self.inner.step(_inside(rows)), "coded": rows["coded"], **bits}

    def finish(self, rows: Rows) -> Rows:
        result = self.inner.finish(_inside(rows))
        return {**result, **{name: rows[name].to(result["log_prob"].device) for name in _CODES}}


def _inside(rows: Rows) -> Rows:
    """The columns of the program inside."""
    return {name: column for name, column in rows.items() if name not in ("coded", *_CODES)}


def _completed(bits: Rows, levels: Tensor) -> Rows:
    """The lengths, where they are not known yet. Shapes: (B,) each, (B, C, H, W) -> (B,) each."""
    unknown = (bits["code_bits"] < 0).nonzero()[:, 0]
    if len(unknown) == 0:
        return bits
    levels = levels[unknown]
    lengths = {"code_bits": code_bits(levels), "half_code_bits": code_bits(half_size(levels))}
    return {name: bits[name].index_copy(0, unknown, lengths[name]) for name in _CODES}
