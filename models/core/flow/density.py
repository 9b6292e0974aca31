"""What the flow families share: a transform, a base, and dequantisation for pixels.

Tabak and Vanden-Eijnden 2010; Rezende and Mohamed 2015, arXiv:1505.05770; Dinh et al. 2017,
arXiv:1605.08803. log p(x) = log p_base(f(x)) + log |det df/dx|.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from models.core.contract.graph import Graph
from models.core.contract.grid import grid_of
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.notes import Notes
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.distributions.base import Base, Normal
from models.core.transforms.dequantisation import UniformDequantisation, into_cell, levels_of
from models.core.transforms.mixture_cdf import MixtureCDF
from models.core.transforms.transform import Centre, Chain, Logit, Standardise, Transform


@dataclass(frozen=True, kw_only=True)
class FlowConfig:
    """What a flow is about; families add the sizes of their networks."""

    event_shape: tuple[int, ...] = (1, 4, 4)
    num_levels: int = 4
    """Grey levels, or counts of a vector; 0 for vectors of real numbers."""
    logit_margin: float = 0.05
    """Margin of the logit that maps pixels to the real line; 0 only centres them."""
    marginal_components: int = 0
    """Logistics in a mixture for every entry, whose marginal the flow begins by making logistic; 0
    for none. The ground of a picture, one level of 256, then is as wide as it is frequent."""
    temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature at which samples are drawn unless a request says otherwise."""


class FlowDensity(GenerativeModel):
    """z = f(x) with z (B, D) of the base distribution, by default standard normal.

    Of real vectors the log density is EXACT; of pixels it is a BOUND, since the flow models the
    dequantised variable (Theis et al. 2016, arXiv:1511.01844).
    """

    own_figures = ("inverse_error",)
    base: Base = Normal()
    """The distribution of the latent; a family may choose another."""

    def __init__(
        self,
        config: FlowConfig,
        transform: Transform,
        dequantisation: nn.Module | None = None,
    ) -> None:
        """`transform` takes (B, *event_shape) to (B, D); `dequantisation` is uniform by default."""
        super().__init__()
        self.config = config
        self.event_shape = config.event_shape
        self.latent_shape = (self.num_dims,)
        self.grid = grid_of(config.event_shape, config.num_levels)
        self.likelihood = Likelihood.BOUND if self.grid else Likelihood.EXACT
        self.flow = Chain([self._entrance(), transform])
        self.dequantisation: nn.Module | None = None
        if self.grid:
            self.dequantisation = dequantisation or UniformDequantisation(config.num_levels)

    def _entrance(self) -> Transform:
        """The transform from what the model is about to the real line."""
        config = self.config
        line: Transform = Centre()
        if self.grid is None:
            line = Standardise(self.event_shape)
        elif config.logit_margin > 0:
            line = Logit(config.logit_margin)
        if not config.marginal_components:
            return line
        return Chain([line, MixtureCDF(config.event_shape, config.marginal_components)])

    def notes(self) -> Notes:
        """What kind of bound a likelihood of levels is; nothing of real vectors."""
        if self.likelihood is not Likelihood.BOUND:
            return Notes()
        return Notes(
            "They bound the log probability of the discrete values from below, with one "
            "dequantisation noise an event, or importance weighted with as many as the name says."
        )

    def log_density(self, y: Tensor) -> Tensor:
        """Log density of the continuous variable: a real vector, or dequantised levels in (0, 1).

        Shapes: (B, *event) -> (B,), nats.
        """
        z, log_abs_det = self.flow(y)
        return self.base.log_prob(z) + log_abs_det

    def log_prob(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
        """Exact for real vectors; for levels the bound at the noise eps, standard normal.

        Shapes: x (B, *event), eps (B, *event) -> (B,), nats.
        """
        y, log_q = self.dequantise(x, eps)
        return self.log_density(y) - log_q

    def dequantise(self, x: Tensor, eps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The continuous variable and the log density of its noise: x itself and 0 if it is real.

        Shapes: x (B, *event), eps (B, *event) standard normal -> (B, *event), (B,) nats.
        """
        if self.grid is None or self.dequantisation is None:
            return x, x.new_zeros(x.shape[0])
        y, log_q = self.dequantisation(self.grid.levels(x).to(x.dtype), eps)
        return y, log_q

    def centre(self, x: Tensor) -> Tensor:
        """The continuous variable in the middle of the event's cell: x itself if it is real.

        Shapes: x (B, *event) -> (B, *event).
        """
        if self.grid is None:
            return x
        levels = self.grid.levels(x).to(x.dtype)
        return into_cell(levels, torch.full_like(levels, 0.5), self.grid.num_levels)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Minus log_prob, at fresh noise. Shapes: x (B, *event) -> (B,), nats."""
        return -self.log_prob(x, torch.randn_like(x))

    def encode(self, x: Tensor, eps: Tensor) -> Tensor:
        """The latent of an event, dequantised with eps. Shapes: (B, *event) x 2 -> (B, D)."""
        z: Tensor = self.flow(self.dequantise(x, eps)[0])[0]
        return z

    def decode(self, z: Tensor) -> Tensor:
        """The continuous variable of a latent: `flow` backwards. Shapes: (B, D) -> (B, *event)."""
        return self.flow.inverse(z)[0]

    def to_event(self, y: Tensor) -> Tensor:
        """The event that holds the continuous variable. Shapes: (B, *event) -> (B, *event)."""
        if self.grid is None:
            return y
        # No level stands for NaN, and as an integer it would be some huge number.
        x = self.grid.values(levels_of(y, self.grid.num_levels))
        return torch.where(y.isnan(), torch.nan, x)

    def initialise(self, x: Tensor) -> None:
        """Set what depends on the data: standardisation by all rows, actnorm by the same.

        Shapes: x (N, *event), of the train split.
        """
        with torch.no_grad():
            x, _ = self.dequantise(x, torch.randn_like(x))
        for part in self.flow.modules():
            if isinstance(part, Standardise):
                part.fit(x)
        self.flow.initialise(x)

    def graphs(self) -> Mapping[str, Graph]:
        z = torch.zeros(2, self.num_dims)
        x, eps = torch.zeros(2, *self.event_shape), torch.zeros(2, *self.event_shape)
        return {
            "log_prob": Graph(self._log_prob_graph, ("x", "eps"), ("log_prob",), (x, eps)),
            "decode": Graph(self._decode_graph, ("z",), ("y",), (z,)),
        }

    def _log_prob_graph(self, x: Tensor, eps: Tensor) -> tuple[Tensor]:
        return (self.log_prob(x, eps),)

    def _decode_graph(self, z: Tensor) -> tuple[Tensor]:
        return (self.decode(z),)
