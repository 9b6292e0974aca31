"""Non-linear independent components estimation: additive couplings, then a scale for every entry.

Dinh et al. 2015, "NICE: non-linear independent components estimation", arXiv:1410.8516. The latent
is logistic, as theirs is for images.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.core.distributions.base import Logistic
from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.transforms.halves import Halves, halves
from models.core.transforms.transform import Chain, Flatten, Transform


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 4x4 images."""

    logit_margin: float = 0.0
    num_couplings: int = 4
    """Each changes every second entry, even and odd ones in turns; below 3 some see no others."""
    hidden: tuple[int, ...] = (16, 16)
    """Widths of the layers of every coupling's network."""


class Model(FlowModel):
    """Couplings of alternate entries, whose volume never changes, and a diagonal scaling."""

    base = Logistic()

    def __init__(self, config: Config) -> None:
        """Raises ValueError for fewer than one coupling, or an event of one entry."""
        if config.num_couplings < 1:
            raise ValueError(f"num_couplings {config.num_couplings}: accepted are 1 and more")
        size = torch.Size(config.event_shape).numel()
        couplings = [
            AdditiveCoupling(halves((size,), swap=i % 2 == 1), config.hidden)
            for i in range(config.num_couplings)
        ]
        super().__init__(config, Chain([Flatten(config.event_shape), *couplings, Scaling(size)]))


class AdditiveCoupling(Transform):
    """changed <- changed + shift, by a network of `kept` (section 3.2). Identity at first."""

    def __init__(self, parts: Halves, hidden: tuple[int, ...]) -> None:
        """`parts` halves a vector (B, D)."""
        super().__init__()
        self.halves = parts
        layers: list[nn.Module] = []
        width = parts.kept_shape[0]
        for num_out in hidden:
            layers += [nn.Linear(width, num_out), nn.ReLU()]
            width = num_out
        last = nn.Linear(width, parts.changed_shape[0])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = self.halves.split(x)
        return self.halves.join(kept, changed + self._shift(kept)), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = self.halves.split(z)
        return self.halves.join(kept, changed - self._shift(kept)), z.new_zeros(z.shape[0])

    def _shift(self, kept: Tensor) -> Tensor:
        # The network may run in half precision, the state may not.
        shift: Tensor = self.network(kept)
        return shift.to(kept.dtype)


class Scaling(Transform):
    """exp(log_scale) x, entry by entry (section 3.3): large where the data vary little."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(z.shape[0])
