"""Energy-based model with one output: the energy is minus the network's value.

Du and Mordatch 2019, "Implicit generation and modeling with energy-based models",
arXiv:1903.08689.
"""

from dataclasses import dataclass

from models.core.energy.density import EnergyConfig
from models.core.energy.model import EnergyModel


@dataclass(frozen=True, kw_only=True)
class Config(EnergyConfig):
    """The defaults are a tiny model."""


class Model(EnergyModel):
    """p(x) proportional to exp(f(x)) on images in [0, 1], unconditional."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, num_outputs=1)
