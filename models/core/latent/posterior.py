"""Approximate posteriors q(z given x) of latent-variable models, from the numbers of an encoder.

Kingma and Welling 2014, "Auto-encoding variational Bayes", arXiv:1312.6114; Rezende and Mohamed
2015, "Variational inference with normalizing flows", arXiv:1505.05770.
"""

import torch
from torch import Tensor, nn

from models.core.distributions.normal import standard_normal_log_prob
from models.core.latent.posterior_flows import PosteriorFlow

MOST_LOG_STD = 8.0
"""Standard deviations beyond e^8, or below e^-8, are no use, and their squares overflow sums."""


class Posterior(nn.Module):
    """A diagonal normal, and behind it a flow if there is one.

    The encoder's numbers are mean (D), log_std (D) and whatever the flow takes.
    """

    def __init__(self, num_latents: int, flow: PosteriorFlow | None = None) -> None:
        super().__init__()
        self.num_latents = num_latents
        self.flow = flow

    @property
    def num_statistics(self) -> int:
        """Numbers that the encoder gives for each event."""
        return 2 * self.num_latents + (self.flow.num_params if self.flow else 0)

    def normal(self, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the flow. Shapes: (B, S) -> (B, D), (B, D)."""
        mean, log_std = statistics[:, : 2 * self.num_latents].chunk(2, 1)
        return mean, log_std.clamp(-MOST_LOG_STD, MOST_LOG_STD)

    def draw(self, statistics: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """z of standard normal noise, and log q(z given x) by the change of variables.

        Shapes: (B, S), (B, D) -> (B, D), (B,) nats.
        """
        mean, log_std = self.normal(statistics)
        z = mean + log_std.exp() * eps
        log_q = standard_normal_log_prob(eps) - log_std.sum(1)
        if self.flow is not None:
            z, log_abs_det = self.flow(z, statistics[:, 2 * self.num_latents :])
            log_q = log_q - log_abs_det
        return z, log_q

    def centre(self, statistics: Tensor) -> Tensor:
        """z without noise: the mean of a normal, and where a flow takes it. (B, S) -> (B, D)."""
        mean, _ = self.normal(statistics)
        return self.draw(statistics, torch.zeros_like(mean))[0]


def normal_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(0, 1)) of every unit (1312.6114, appendix B).

    Shapes: (B, D), (B, D) -> (B, D), nats.
    """
    return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
