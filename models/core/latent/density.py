"""What the latent-variable families share: encoder, posterior, prior and the bound that they train.

Kingma and Welling 2014, arXiv:1312.6114; Burda et al. 2016, "Importance weighted autoencoders",
arXiv:1509.00519; free bits: Kingma et al. 2016, arXiv:1606.04934, appendix C.8.
"""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.grid import grid_of
from models.core.contract.likelihood import Likelihood, log_mean_exp
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import normal
from models.core.contract.notes import Notes
from models.core.distributions.normal import standard_normal_log_prob
from models.core.latent.config import LatentConfig, check, posterior_flow, prior_flow
from models.core.latent.nets import encoder
from models.core.latent.posterior import Posterior, normal_kl
from models.core.transforms.transform import Transform


class LatentDensity(GenerativeModel):
    """p(x) = integral of p(x given z) p(z) dz, of which only a bound is known.

    Shape letters: B rows, D latents, S numbers of the encoder, K importance samples.
    """

    likelihood = Likelihood.BOUND
    own_figures = ("latents",)
    decoder_graphs: tuple[str, ...] = ()
    """Graphs that `log_prob_given` calls."""
    samples_per_step: int = 16
    """Latents that a row takes in one step of its bound."""

    def __init__(self, config: LatentConfig) -> None:
        """Raises ValueError for settings that do not fit."""
        super().__init__()
        check(config)
        self.config = config
        self.event_shape = config.event_shape
        self.num_latents = config.latent_dims
        self.latent_shape = (config.latent_dims,)
        self.grid = grid_of(config.event_shape, config.num_levels)
        self.posterior = Posterior(config.latent_dims, posterior_flow(config))
        self.encoder = encoder(
            config.encoder,
            config.event_shape,
            config.encoder_channels,
            config.encoder_hidden,
            self.posterior.num_statistics,
        )
        self.prior: Transform | None = prior_flow(config)

    def notes(self) -> Notes:
        """What the bound is over, and which latents count as active."""
        return Notes(
            f"They bound the log probability from below, by {self.config.num_samples} latents an "
            "event from q(z given x), importance weighted, or as many as the name says; `kl` is "
            "KL(q(z given x) || p(z)). `active_units` have a centre of q whose variance over test "
            "events is above 0.01."
        )

    @abstractmethod
    def log_prob_given(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x given z), K rows of z in turn for each row of x.

        Shapes: x (B, *event) on the grid, z (B * K, D) -> (B * K,), nats.
        """

    def on_grid(self, x: Tensor) -> Tensor:
        """The nearest events that the model is about. Shapes: (B, *event) -> (B, *event)."""
        return self.grid.values(self.grid.levels(x)).to(x.dtype) if self.grid else x

    def statistics(self, x: Tensor) -> Tensor:
        """What the encoder says of q(z given x). Shapes: (B, *event) -> (B, S)."""
        seen = self.on_grid(x) / (self.grid.top if self.grid else 1.0)
        # The network may run in half precision, what comes behind it may not.
        statistics: Tensor = self.encoder(seen)
        return statistics.to(x.dtype)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z). Shapes: (B, D) -> (B,), nats."""
        if self.prior is None:
            return standard_normal_log_prob(z)
        base, log_abs_det = self.prior(z)
        return standard_normal_log_prob(base) + log_abs_det

    def from_base(self, base: Tensor) -> Tensor:
        """Latents from standard normal numbers. Shapes: (B, D) -> (B, D)."""
        return base if self.prior is None else self.prior.inverse(base)[0]

    def drawn(self, seed: Tensor, temperature: Tensor) -> Tensor:
        """Base noise of the prior, each row with its own spread. Shapes: (B,), (B,) -> (B, D)."""
        noise = normal(seed, torch.zeros_like(seed), (self.num_latents,)).to(self.device)
        return temperature.to(noise)[:, None] * noise

    def log_weight(self, x: Tensor, statistics: Tensor, eps: Tensor) -> Tensor:
        """log p(x, z) - log q(z given x) at the z of the noise.

        Shapes: x (B, *event) on the grid, (B, S), eps (B, D) standard normal -> (B,), nats.
        """
        z, log_q = self.posterior.draw(statistics, eps)
        return self.log_prob_given(x, z) + self.log_prior(z) - log_q

    def kl(self, statistics: Tensor, z: Tensor, log_q: Tensor) -> Tensor:
        """KL(q || p) of every group of units, exact where both are normal; else of all of them, by
        the one z that was drawn. Shapes: (B, S), (B, D), (B,) -> (B, G), nats."""
        if self.posterior.flow is None and self.prior is None:
            units = normal_kl(*self.posterior.normal(statistics))
            return units.unflatten(1, (-1, self.config.units_per_group)).sum(2)
        return (log_q - self.log_prior(z))[:, None]

    def objective(
        self,
        x: Tensor,
        *,
        kl_weight: float = 1.0,
        free_bits: float = 0.0,
        num_samples: int | None = None,
    ) -> Tensor:
        """Minus the bound, at fresh noise; with weight 1 and no free bits it is the true one.

        A group whose mean KL over the batch is below its free bits is charged these instead, and
        has no gradient. Of several samples, `kl_weight` tempers log q - log p(z) in the weights.
        Shapes: x (B, *event) -> (B,), nats.
        """
        num = num_samples or self.config.num_importance_samples
        x = self.on_grid(x)
        statistics = self.statistics(x)
        many = statistics.repeat_interleave(num, 0)
        z, log_q = self.posterior.draw(many, torch.randn_like(many[:, : self.num_latents]))
        log_prob = self.log_prob_given(x, z)
        if num > 1:
            log_weight = log_prob + kl_weight * (self.log_prior(z) - log_q)
            return -log_mean_exp(log_weight.unflatten(0, (-1, num)), 1)
        kl = self.kl(statistics, z, log_q)
        least = free_bits * (self.num_latents / self.config.units_per_group / kl.shape[1])
        if least > 0:
            kl = torch.where(kl.mean(0) > least, kl, least)
        return kl_weight * kl.sum(1) - log_prob

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Minus the bound; the free bits count in training only. Shapes: (B, *event) -> (B,)."""
        return self.objective(x, free_bits=self.config.free_bits if self.training else 0.0)

    def graphs(self) -> Mapping[str, Graph]:
        x = torch.zeros(2, *self.event_shape)
        return {"statistics": Graph(self._statistics_graph, ("x",), ("statistics",), (x,))}

    def _statistics_graph(self, x: Tensor) -> tuple[Tensor]:
        return (self.statistics(x),)


class ValueDecoder(LatentDensity):
    """p(x given z) with a distribution of its own for every value, all in one network call.

    Graph "decode" gives their P numbers: z (B, D) -> (B, *event, P).
    """

    @abstractmethod
    def expected(self, params: Tensor) -> Tensor:
        """The mean of every value. Shapes: (B, *event, P) -> (B, *event)."""

    @abstractmethod
    def chosen(self, params: Tensor, u: Tensor) -> Tensor:
        """Values drawn by uniform numbers. Shapes: (B, *event, P), (B, *event) -> (B, *event)."""
