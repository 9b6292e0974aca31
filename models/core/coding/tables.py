"""A network's numbers as integer frequencies of the levels, by correctly rounded operations only.

What `models.core.distributions.levels` says in floats, for a coder that must give and take the
very same table.
"""

import torch
from torch import Tensor

from models.core.coding.entropy import LEAST, TOTAL
from models.core.coding.fixed_point import ONE, SPAN, exp, sigmoid, to_fixed_point
from models.core.distributions.levels import Bernoulli, LogisticMixture, Output

_WEIGHT = 2.0**-10
"""Scale of a mixture's weights against ONE: sums of weight times sigmoid stay exact."""
_WIDEST, _NARROWEST = 7.0, -7.0


def cumulative(output: Output, params: Tensor) -> Tensor:
    """Where each level's interval begins, and the end TOTAL of the last.

    Shapes: (..., num_params) in fixed point -> whole numbers (..., K + 1) in float64.
    """
    level = torch.arange(output.num_levels - 1, device=params.device)
    below = _mass(output, params, level.expand(*params.shape[:-1], -1))
    inner = scaled(below, level + 1, output.num_levels)
    ends = inner.new_zeros(*inner.shape[:-1], 1)
    return torch.cat([ends, inner, ends + TOTAL], -1)


def interval(output: Output, params: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Left end and frequency of one level, as in `cumulative`.

    Shapes: (..., num_params) in fixed point, int64 (...) -> 2 x whole numbers (...) in float64.
    """
    ends = torch.stack([level - 1, level], -1)
    mass = _mass(output, params, ends.clamp(0, output.num_levels - 2))
    counts = scaled(mass, ends + 1, output.num_levels)
    left = torch.where(level == 0, 0.0, counts[..., 0])
    right = torch.where(level == output.num_levels - 1, float(TOTAL), counts[..., 1])
    return left, right - left


def scaled(share: Tensor, num_below: Tensor, num_levels: int) -> Tensor:
    """The share of `num_below` levels as a count of TOTAL, in which each level has its LEAST."""
    free = TOTAL - LEAST * num_levels
    # Rounded correctly, product and floor keep the order, so no frequency is below LEAST.
    return (share * free).floor_() + LEAST * num_below


def _mass(output: Output, params: Tensor, level: Tensor) -> Tensor:
    """Probability of a level and all below. Shapes: (..., P), int64 (..., N) -> (..., N)."""
    if isinstance(output, Bernoulli):
        return sigmoid(-params).expand(level.shape) / ONE
    if isinstance(output, LogisticMixture):
        return _mixture_mass(output, params, level)
    weight = exp(params - params.amax(-1, keepdim=True))
    total = weight.cumsum(-1)
    return total.gather(-1, level) / total[..., -1:]


def mixture_weights(logit: Tensor) -> Tensor:
    """Whole numbers in proportion to the components' probabilities. Shapes: (..., K) -> same."""
    return (exp(logit - logit.amax(-1, keepdim=True)) * _WEIGHT).floor()


def _mixture_mass(output: LogisticMixture, params: Tensor, level: Tensor) -> Tensor:
    logit, mean, log_scale = (part.unsqueeze(-2) for part in params.chunk(3, -1))
    weight = mixture_weights(logit)
    # 1 / scale = e^7 exp(-7 - log_scale), of which the first factor is e^7 to eight digits.
    inverse = exp(_NARROWEST - log_scale.clamp(_NARROWEST, _WIDEST)) / ONE * 1096.6331584
    border = (2 * level + 2 - output.num_levels).double() / (output.num_levels - 1)
    t = ((border.unsqueeze(-1) - mean) * inverse).clamp(-SPAN, SPAN)
    below = (weight * sigmoid(to_fixed_point(t))).sum(-1)
    return below / (weight.sum(-1) * ONE)
