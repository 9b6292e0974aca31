"""Mixtures of logistics over all integers: the distribution of what an integer flow leaves over.

Hoogeboom et al. 2019, arXiv:1905.07376. P(z) is the mixture's mass between z - 1/2 and
z + 1/2. No cell reaches to infinity, since latents may be any integer.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, pad, softplus

LEAST_LOG_SCALE = -4.0
"""A scale of e^-4 levels puts all but 1e-11 into one cell; narrower only makes gradients large."""
RARE = 1e-3
"""Weight of the wide component: it costs 0.001 nats a latent. Without it one level beside a narrow
logistic costs 27 nats, a hundred cost thousands, and training jumps."""


class IntegerMixture(NamedTuple):
    """A logistic mixture for every latent; tensors have the latents' shape, and K components."""

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    """Log of the logistic's scale, in levels; the mean is in levels too."""

    def log_prob(self, z: Tensor) -> Tensor:
        """log P of whole numbers. Shapes: (...) -> (...), nats."""
        # With a > b the ends of a cell in units of the scale, sigmoid(a) - sigmoid(b) = sigmoid(a)
        # sigmoid(-b) (1 - exp(b - a)), which cancels nowhere and is finite far out.
        inverse = (-self.log_scale).exp()
        distance = z.unsqueeze(-1) - self.mean
        upper, lower = (distance + 0.5) * inverse, (distance - 0.5) * inverse
        log_cell = -softplus(-upper) - softplus(lower) + (-torch.expm1(-inverse)).log()
        return (self.log_weight + log_cell).logsumexp(-1)

    def sample(self, u: Tensor, temperature: Tensor) -> Tensor:
        """The component by the first number, then the logistic's inverse distribution function at
        the second, rounded: the very distribution of `log_prob` at temperature 1.

        Below 1 the scales shrink, and weights are raised to 1 / temperature. Shapes: u in [0, 1)
        (..., 2), temperature (...) -> whole numbers (...).
        """
        spread = temperature.unsqueeze(-1)
        weight = (self.log_weight / spread.clamp(min=1e-6)).softmax(-1)
        below = weight.double().cumsum(-1) <= u[..., :1].double()
        chosen = below.sum(-1, keepdim=True).clamp(max=weight.shape[-1] - 1)
        mean = self.mean.gather(-1, chosen).squeeze(-1)
        scale = self.log_scale.gather(-1, chosen).squeeze(-1).exp()
        # The numbers are multiples of 2^-24: half a step keeps the logit finite at 0.
        logistic = (u[..., 1].double() + 2.0**-25).logit().to(mean.dtype)
        return (mean + temperature * scale * logistic).round()


def component_means(raw: Tensor, unit: float) -> Tensor:
    """Means in levels, at raw = 0 from 0 to 2 `unit`. Shapes: (..., K) -> (..., K).

    1 stands for no more than an eighth of a unit, since a step of training may move a network's
    answers by a tenth, and black must stay black meanwhile.
    """
    num = raw.shape[-1]
    place = torch.arange(num, dtype=raw.dtype, device=raw.device)
    middle = place * (2 / (num - 1)) if num > 1 else place + 1
    return unit * (raw / 8 + middle)


def integer_mixture(params: Tensor, num_channels: int, unit: float) -> IntegerMixture:
    """Mixtures of K + 1 components by a network's numbers: the last is fixed, rare and as wide as
    the levels, so that no level is impossible. (B, 3 K C, H, W) -> of latents (B, C, H, W).

    At zero the others' means lie evenly over 0 .. 2 `unit`, each as wide as its share. A sigmoid
    keeps their log scales between bounds.
    """
    logit, mean, log_scale = params.unflatten(1, (3, -1, num_channels)).movedim(2, -1).unbind(1)
    num_components = logit.shape[-1]
    mean = component_means(mean, unit)
    most = math.log(8 * unit)
    start = (math.log(unit / num_components) - LEAST_LOG_SCALE) / (most - LEAST_LOG_SCALE)
    start = min(max(start, 0.1), 0.9)
    bounded = (log_scale + math.log(start / (1 - start))).sigmoid()
    log_scale = LEAST_LOG_SCALE + (most - LEAST_LOG_SCALE) * bounded
    log_weight = log_softmax(logit, -1) + math.log1p(-RARE)
    return IntegerMixture(
        pad(log_weight, (0, 1), value=math.log(RARE)),
        pad(mean, (0, 1), value=unit),
        pad(log_scale, (0, 1), value=math.log(unit / 2)),
    )
