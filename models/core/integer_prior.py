"""Mixtures of logistics over all integers: the distribution of what an integer flow leaves over.

Hoogeboom et al. 2019, arXiv:1905.07376, section 3.3. P(z) is the mixture's mass between z - 1/2 and
z + 1/2. No cell reaches to infinity, since latents may be any integer.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

_LEAST_LOG_SCALE = -4.0
"""A scale of e^-4 levels puts all but 1e-11 into one cell; narrower only makes gradients large."""


class IntegerMixture(NamedTuple):
    """Of every latent its own: each tensor has the shape of the latents and K components behind."""

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor
    """Log of the logistic's scale, in levels; the mean is in levels too."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Of whole numbers. Shapes: (...) -> (...), nats."""
        # With a > b the ends of a cell in units of the scale, sigmoid(a) - sigmoid(b) = sigmoid(a)
        # sigmoid(-b) (1 - exp(b - a)), which cancels nowhere and is finite far out.
        inverse = (-self.log_scale).exp()
        distance = z.unsqueeze(-1) - self.mean
        upper, lower = (distance + 0.5) * inverse, (distance - 0.5) * inverse
        log_cell = -softplus(-upper) - softplus(lower) + (-torch.expm1(-inverse)).log()
        return (self.log_weight + log_cell).logsumexp(-1)

    def sample(self, u: Tensor, temperature: Tensor) -> Tensor:
        """The component by the first number, then the logistic's inverse distribution function at
        the second, rounded: the very law of `log_prob` at temperature 1.

        Below 1 the scales shrink, and weights are raised to 1 / temperature. Shapes: u in [0, 1)
        (..., 2), temperature (...) -> whole numbers (...).
        """
        spread = temperature.unsqueeze(-1)
        weight = (self.log_weight / spread.clamp(min=1e-3)).softmax(-1)
        below = weight.double().cumsum(-1) <= u[..., :1].double()
        chosen = below.sum(-1, keepdim=True).clamp(max=weight.shape[-1] - 1)
        mean = self.mean.gather(-1, chosen).squeeze(-1)
        scale = self.log_scale.gather(-1, chosen).squeeze(-1).exp()
        # The numbers are multiples of 2^-24: half a step keeps the logit finite at 0.
        logistic = (u[..., 1].double() + 2.0**-25).logit().to(mean.dtype)
        return (mean + temperature * scale * logistic).round()


def integer_mixture(params: Tensor, num_channels: int, unit: float) -> IntegerMixture:
    """What a network's numbers say. Shapes: (B, 3 K C, H, W) -> of latents (B, C, H, W).

    At zero the means lie evenly over 2 `unit` levels, each as wide as its share.
    """
    logit, mean, log_scale = params.unflatten(1, (3, -1, num_channels)).movedim(2, -1).unbind(1)
    num_components = logit.shape[-1]
    place = torch.arange(num_components, dtype=params.dtype, device=params.device)
    mean = unit * (mean + 2 * (place + 0.5) / num_components)
    start = log_scale.new_full((), unit / num_components).log()
    log_scale = _LEAST_LOG_SCALE + softplus(log_scale + start - _LEAST_LOG_SCALE)
    return IntegerMixture(log_softmax(logit, -1), mean, log_scale)
