"""Autoregressive blocks run backwards as programs of network passes, each row to its own end.

Sequential: one dimension a pass. Fixed point: every dimension a pass, from a guess at all of them,
until nothing moves; Jacobi's method on a triangular system (Song et al. 2021, "Accelerating
feedforward computation via parallel nonlinear equation solving", arXiv:2002.03629, section 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.rows import Rows, rows_at, with_rows_at
from models.core.transforms.autoregressive import Autoregressive


@dataclass(frozen=True)
class InversionParams:
    """How the blocks are run backwards."""

    method: Annotated[
        Literal["fixed_point", "sequential"],
        Field(description="all dimensions a pass until nothing moves, or one dimension a pass"),
    ] = "fixed_point"
    tolerance: Annotated[
        float,
        Field(ge=0, le=0.01, description="largest change a pass at which a block's inverse stands"),
    ] = 1e-6


class Inversion:
    """The inverse of a chain of blocks, as columns of a program and a step of one pass a row.

    Of a fixed point's k-th pass the first k dimensions in the order are right whatever the guess
    was, so D passes a block are enough. Columns of bookkeeping stay on the CPU.
    """

    def __init__(self, blocks: Sequence[Autoregressive]) -> None:
        """The last block of the chain is the first to be inverted."""
        self.blocks = list(reversed(blocks))
        self.num_dims = blocks[0].net.num_dims
        self.num_passes = len(self.blocks) * self.num_dims
        """The most passes that an inversion takes."""

    def start(self, z: Tensor, log_abs_det: Tensor, params: InversionParams) -> Rows:
        """The columns before the first pass. Shapes as in `begin`."""
        size = len(z)
        return {
            **self.begin(z, log_abs_det),
            "tolerance": torch.full((size,), params.tolerance, dtype=z.dtype, device=z.device),
            "sequential": torch.full((size,), params.method == "sequential"),
        }

    def begin(self, z: Tensor, log_abs_det: Tensor) -> Rows:
        """The columns that passes change, for a start at z. `log_abs_det` is what has come before.

        Shapes: (B, D), (B,).
        """
        size = len(z)
        return {
            "target": z,
            "guess": z,
            "slope": torch.zeros_like(log_abs_det),
            "log_abs_det": log_abs_det,
            "block": torch.zeros(size, dtype=torch.int64),
            "pass": torch.zeros(size, dtype=torch.int64),
            "done": torch.zeros(size, dtype=torch.bool),
        }

    def step(self, rows: Rows) -> Rows:
        """One pass for every row that is not done; then column target is the inverse."""
        result = rows
        for index, block in enumerate(self.blocks):
            here = ~rows["done"] & (rows["block"] == index)
            for sequential, solve in ((False, self._all), (True, self._next)):
                chosen = (here & (rows["sequential"] == sequential)).nonzero()[:, 0]
                if len(chosen) > 0:
                    result = with_rows_at(result, chosen, solve(block, rows_at(rows, chosen)))
        return result

    def _all(self, block: Autoregressive, rows: Rows) -> Rows:
        h, slope = block.solve(rows["target"], rows["guess"])
        still = (h - rows["guess"]).abs().amax(1) <= rows["tolerance"]
        return self._passed(block, rows, h, slope, still.cpu())

    def _next(self, block: Autoregressive, rows: Rows) -> Rows:
        dim = block.net.order()[rows["pass"].to(rows["guess"].device)]
        value, slope = block.solve_at(rows["target"], rows["guess"], dim)
        h = rows["guess"].scatter(1, dim[:, None], value[:, None])
        still = torch.zeros_like(rows["done"])
        return self._passed(block, rows, h, rows["slope"] + slope, still)

    def _passed(
        self, block: Autoregressive, rows: Rows, h: Tensor, slope: Tensor, still: Tensor
    ) -> Rows:
        """The columns after a pass: on to the next block where this one's inverse is found."""
        num = rows["pass"] + 1
        over = still | (num == self.num_dims)
        x, log_abs_det = block.norm.inverse(h)
        ended = over.to(h.device)
        wide = ended[:, None]
        return {
            "target": torch.where(wide, x, rows["target"]),
            "guess": torch.where(wide, x, h),
            "slope": torch.where(ended, 0.0, slope),
            "log_abs_det": rows["log_abs_det"] + torch.where(ended, slope + log_abs_det, 0.0),
            "block": rows["block"] + over,
            "pass": torch.where(over, 0, num),
            "done": over & (rows["block"] + 1 == len(self.blocks)),
        }
