"""A log likelihood, and beside it how long the image is in a code that knows nothing of the data.

Serra et al. 2020, "Input complexity and out-of-distribution detection with likelihood-based
generative models", arXiv:1909.11480.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.core.codec_length import code_bits
from models.core.density import Around, EnergyOf, P
from models.core.grid import Grid
from models.core.model import GenerativeModel
from models.core.operation import Operation, Rows, num_rows

_MOST_LEVELS = 256
_OWN = ("coded", "code_bits")


def likelihood_operations(
    model: GenerativeModel, log_likelihood: Operation[Any]
) -> Mapping[str, Operation[Any]]:
    """All that are made of a likelihood: itself, energy, and of images of levels this one."""
    found = {"log_likelihood": log_likelihood, "energy": EnergyOf(log_likelihood)}
    grid = model.grid
    if grid is None or len(model.event_shape) != 3 or grid.num_levels > _MOST_LEVELS:
        return found
    return {**found, "input_complexity": InputComplexity(log_likelihood, grid)}


class InputComplexity(Around[P]):
    """All columns of a log_likelihood, and code_bits (B,): the length of the image's code.

    The code is of the levels that the model sees, a byte each, be they 256 or fewer.
    """

    def __init__(self, log_likelihood: Operation[P], grid: Grid) -> None:
        """Raises ValueError for levels that are not those of images."""
        super().__init__(log_likelihood)
        if grid.num_levels > _MOST_LEVELS:
            raise ValueError(f"{grid.num_levels} levels: accepted are up to {_MOST_LEVELS}")
        self.grid = grid
        self.outputs = (*log_likelihood.outputs, "code_bits")

    @property
    def examples(self) -> tuple[P, ...]:
        """The default alone: what others reach is the inner program's."""
        return (self.default_params,)

    def init(self, inputs: Rows, params: P) -> Rows:
        coded = self.grid.levels(inputs["x"].cpu()).to(torch.uint8)
        unknown = torch.full((num_rows(inputs),), -1.0)
        return {**self.inner.init(inputs, params), "coded": coded, "code_bits": unknown}

    def step(self, rows: Rows) -> Rows:
        """In a row's first step its code too, since the engine measures what steps cost."""
        bits = _completed(rows["code_bits"], rows["coded"])
        return {**self.inner.step(_inside(rows)), "coded": rows["coded"], "code_bits": bits}

    def finish(self, rows: Rows) -> Rows:
        result = self.inner.finish(_inside(rows))
        return {**result, "code_bits": rows["code_bits"].to(result["log_prob"].device)}


def _inside(rows: Rows) -> Rows:
    """The columns of the program inside."""
    return {name: column for name, column in rows.items() if name not in _OWN}


def _completed(bits: Tensor, levels: Tensor) -> Tensor:
    """The lengths, where they are not known yet. Shapes: (B,), (B, C, H, W) -> (B,)."""
    unknown = (bits < 0).nonzero()[:, 0]
    if len(unknown) == 0:
        return bits
    return bits.index_copy(0, unknown, code_bits(levels[unknown]))
