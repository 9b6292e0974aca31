"""Densities of pairs of numbers that are known up to their constant, for flows to be fitted to.

Rezende and Mohamed 2015, arXiv:1505.05770, table 1: p(x) = exp(-U(x)) / Z with four potentials U.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.contract.noise import uniform
from models.core.distributions.normal import standard_normal_log_prob

_WALL_AT, _WALL_WIDTH = 4.0, 0.4
_PROPOSALS = 2**16  # of a step of rejection sampling


@dataclass(frozen=True)
class Target:
    """p(x) = exp(log_prob(x)) / Z over pairs; all of it but what no float tells lies in a box."""

    log_prob: Callable[[Tensor], Tensor]
    """The log density without its constant. Shapes: (B, 2) -> (B,), nats."""
    half_width: float = 7.0
    """The box is [-half_width, half_width]^2."""
    most: float = math.log(2)
    """A bound on log_prob."""

    def cell_centres(self, num: int) -> Tensor:
        """The centres of num x num cells of the box, float64. -> (num^2, 2)."""
        ticks = (2 * (torch.arange(num, dtype=torch.float64) + 0.5) / num - 1) * self.half_width
        return torch.cartesian_prod(ticks, ticks)

    def log_cell(self, num: int) -> float:
        """Log area of one of those cells."""
        return 2 * math.log(2 * self.half_width / num)

    def log_z(self, num: int = 1000) -> float:
        """Log of the constant, by the midpoint rule; nats."""
        return float(self.log_prob(self.cell_centres(num)).logsumexp(0)) + self.log_cell(num)

    def draw(self, num_rows: int, seed: int = 0) -> Tensor:
        """Independent rows of p by rejection, the same for ever. -> float32 (num_rows, 2)."""
        kept: list[Tensor] = []
        step = 0
        while sum(len(part) for part in kept) < num_rows:
            u = uniform(torch.tensor([seed]), torch.tensor([step]), (_PROPOSALS, 3))[0].double()
            x = (2 * u[:, :2] - 1) * self.half_width
            kept.append(x[u[:, 2].log() < self.log_prob(x) - self.most].float())
            step += 1
        return torch.cat(kept)[:num_rows]


def potential_1(x: Tensor) -> Tensor:
    """A ring, thick at the left and the right. Shapes: (B, 2) -> (B,), nats; so do all."""
    first, _ = x.unbind(-1)
    ring = (x.norm(dim=-1) - 2) / 0.4
    return ring.square() / 2 - _log_of_two(first - 2, 0.6, first + 2, 0.6)


def potential_2(x: Tensor) -> Tensor:
    """A wave."""
    return ((x[..., 1] - _wave(x)) / 0.4).square() / 2 + _wall(x)


def potential_3(x: Tensor) -> Tensor:
    """A wave that is split in the middle."""
    bump = 3 * (-((x[..., 0] - 1) / 0.6).square() / 2).exp()
    off = x[..., 1] - _wave(x)
    return -_log_of_two(off, 0.35, off + bump, 0.35) + _wall(x)


def potential_4(x: Tensor) -> Tensor:
    """A wave that falls into two."""
    step = 3 * ((x[..., 0] - 1) / 0.3).sigmoid()
    off = x[..., 1] - _wave(x)
    return -_log_of_two(off, 0.4, off + step, 0.35) + _wall(x)


def _wave(x: Tensor) -> Tensor:
    """w_1 of the paper."""
    return (2 * math.pi * x[..., 0] / 4).sin()


def _log_of_two(a: Tensor, scale_a: float, b: Tensor, scale_b: float) -> Tensor:
    """log(exp(-(a / scale_a)^2 / 2) + exp(-(b / scale_b)^2 / 2)). Shapes: (...) -> (...)."""
    return torch.logaddexp(-(a / scale_a).square() / 2, -(b / scale_b).square() / 2)


def _wall(x: Tensor) -> Tensor:
    """Where the paper's pictures end: without an end three of its potentials have an infinite Z."""
    return ((x[..., 0].abs() - _WALL_AT).clamp(min=0) / _WALL_WIDTH).square() / 2


def _of(potential: Callable[[Tensor], Tensor]) -> Target:
    return Target(lambda x: -potential(x))


GAUSSIAN_MEAN = (1.0, -0.5)
GAUSSIAN_FACTOR = ((1.2, 0.0), (-0.9, 0.5))
"""x = mean + factor z with z standard normal."""


def _gaussian(x: Tensor) -> Tensor:
    """log N without the determinant of the factor, which is Z."""
    mean, factor = x.new_tensor(GAUSSIAN_MEAN), x.new_tensor(GAUSSIAN_FACTOR)
    z = torch.linalg.solve_triangular(factor, (x - mean).mT, upper=False).mT
    return standard_normal_log_prob(z)


TARGETS: dict[str, Target] = {
    "potential-1": _of(potential_1),
    "potential-2": _of(potential_2),
    "potential-3": _of(potential_3),
    "potential-4": _of(potential_4),
    "gaussian": Target(_gaussian, half_width=9.0),
}
"""The densities, by the names under which recipes know them."""
