"""Scores of any distribution as standard normal quantiles, so that they can be added up."""

import math

import torch
from torch import Tensor

_FARTHEST = 1e6
"""Largest z-value; a score that lies beyond, or is no number, counts as that strange."""
_NORMAL_99 = 2.3263478740408408


def fit_knots(scores: Tensor, num_knots: int) -> Tensor:
    """The scores at `num_knots` normal quantiles, evenly spaced over those that the data reach.

    Two more numbers follow: the slopes beyond both ends, in score units per standard deviation,
    from the median to the 1 % and 99 % quantiles, which single outliers do not move.
    Shapes: (N,) -> (num_knots + 2,) float64. Raises ValueError if there are fewer than 50 scores
    or if one is not finite.
    """
    num = len(scores)
    if num < 50 or not bool(scores.isfinite().all()):
        raise ValueError(f"{num} scores: accepted are 50 or more, all finite")
    ordered = scores.double().sort().values
    place = torch.special.ndtr(_levels(num_knots, num).double()) * num - 0.5
    below = place.floor().clamp(0, num - 2).long()
    share = (place - below).clamp(0, 1)
    knots = ordered[below] * (1 - share) + ordered[below + 1] * share
    low, middle, high = torch.quantile(ordered, torch.tensor([0.01, 0.5, 0.99]).double())
    slopes = torch.stack([middle - low, high - middle]) / _NORMAL_99
    return torch.cat([knots, slopes])


def z_value(scores: Tensor, knots: Tensor, num_fitted: int) -> Tensor:
    """Phi^-1 of the share of fitted scores below, linear between knots and beyond the last one.

    Without the extension all that is far outside would tie (Phi^-1 of an empirical share ends
    at the largest score). Ties and NaN err towards strange. Shapes: scores (B,), knots as
    `fit_knots` gives them -> (B,) float64.
    """
    levels = _levels(len(knots) - 2, num_fitted).double().to(scores.device)
    at, slopes = knots[:-2].double(), knots[-2:].double()
    tiny = 1e-9 * max(float(at[-1] - at[0]), 1e-30)
    s = scores.double().nan_to_num(nan=math.inf, posinf=math.inf, neginf=-math.inf)
    right = torch.searchsorted(at, s, right=True).clamp(1, len(at) - 1)
    left = right - 1
    share = (s - at[left]) / (at[right] - at[left]).clamp(min=tiny)
    inside = levels[left] + share.clamp(0, 1) * (levels[right] - levels[left])
    above = levels[-1] + (s - at[-1]) / slopes[1].clamp(min=tiny)
    below = levels[0] + (s - at[0]) / slopes[0].clamp(min=tiny)
    z = torch.where(s >= at[-1], above, torch.where(s < at[0], below, inside))
    return z.clamp(-_FARTHEST, _FARTHEST)


def fisher(z: Tensor) -> Tensor:
    """-2 sum log P(Z > z_j): large where a component is far above what it should be.

    Fisher 1932, as a score and not as a test, so that components need not be independent.
    One-sided: a component that is unusually low comforts little and alarms not at all.
    Shapes: (B, J) -> (B,) float64.
    """
    # Added column by column, so that a row's sum is the same bits in any company.
    total = torch.zeros(z.shape[0], dtype=torch.float64, device=z.device)
    for column in z.double().unbind(1):
        total = total - 2 * torch.special.log_ndtr(-column)
    return total


def _levels(num_knots: int, num: int) -> Tensor:
    """Normal quantiles from that of the smallest of `num` scores to that of the largest."""
    end = float(torch.special.ndtri(torch.tensor(1 - 0.5 / num, dtype=torch.float64)))
    return torch.linspace(-end, end, num_knots, dtype=torch.float64)
