"""From discrete levels to a continuous variable that a flow can model, and the price of it.

With q(u given x) on [0, 1)^D and y = (level + u) / num_levels, log P(x) >= E_q[log p(y) - log q(y
given x)]: Theis et al. 2016, arXiv:1511.01844, section 3.1; Ho et al. 2019, arXiv:1902.00275,
section 3.1.
"""

import torch
from torch import Tensor, nn


class UniformDequantisation(nn.Module):
    """u uniform on [0, 1), as the normal distribution function of eps."""

    def __init__(self, num_levels: int) -> None:
        super().__init__()
        self.num_levels = num_levels

    def forward(self, levels: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: levels float (B, *event) whole numbers, eps (B, *event) standard normal
        -> y (B, *event) inside its level's cell of (0, 1), log q(y given levels) (B,) in nats.

        eps = 0 is the middle of the cell.
        """
        y = into_cell(levels, torch.special.ndtr(eps), self.num_levels)
        log_q = y.new_full((y.shape[0],), self.num_levels).log() * y[0].numel()
        return y, log_q


def into_cell(levels: Tensor, u: Tensor, num_levels: int) -> Tensor:
    """(levels + u) / num_levels, kept inside the cell: rounding could reach the next one.

    Shapes: (B, ...), (B, ...) in [0, 1] -> (B, ...) in (0, 1).
    """
    edge = cell_edge(levels.dtype)
    return (levels + u.clamp(edge, 1 - edge)) / num_levels


def cell_edge(dtype: torch.dtype) -> float:
    """How close to the ends of its cell u may come, as a part of the cell.

    In float32 the numbers near 256 lie 3e-5 apart.
    """
    return 1e-4 if dtype == torch.float32 else 1e-12


def levels_of(y: Tensor, num_levels: int) -> Tensor:
    """The level whose cell holds y. Shapes: (B, ...) -> int64 (B, ...)."""
    return (y * num_levels).floor().clamp(0, num_levels - 1).long()
