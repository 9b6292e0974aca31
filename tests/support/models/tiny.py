"""Tiny models with random weights or known energies, for the tests of the mathematics."""

from typing import Any

import torch
from torch import Tensor

from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from models.core.energy.density import EnergyConfig
from models.core.energy.model import EnergyModel
from models.core.flow.model import FlowModel

LOG_Z, LOG_Z_ERROR = 3.0, 0.25
SPREAD = 0.2


def random_model(name: str, *, seed: int = 0, scale: float = 3.0, **config: Any) -> GenerativeModel:
    """A model of this family with random weights and whatever else training would leave in it.

    Weights of energies are `scale` times their usual size: near zero all energies are alike, and a
    row that sees another goes unnoticed. Other families start some weights at zero, which would
    hide as much, and are too wild at `scale`: theirs get noise.
    """
    module = family(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model: GenerativeModel = module.Model(module.Config(**config))
        if isinstance(model, EnergyModel):
            for parameter in model.parameters():
                parameter.mul_(scale)
            _fill(model)
        else:
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=SPREAD)
        if isinstance(model, FlowModel):
            model.initialise(events_of(model, 64, seed))
    return model.eval().requires_grad_(False)


def random_energy_model(name: str = "jem", **settings: Any) -> EnergyModel:
    """The same, for tests that need what only energy models have."""
    model = random_model(name, **settings)
    assert isinstance(model, EnergyModel)
    return model


def _fill(model: EnergyModel) -> None:
    model.start_mean.uniform_(0.2, 0.8)
    model.start_factor.normal_().mul_(0.1)
    model.start_std.uniform_(0, 0.2)
    model.chains.copy_(torch.randint(256, model.chains.shape))
    every = torch.arange(len(model.chains)) % (model.num_classes + 1)
    model.chain_label.copy_(every - 1)
    model.log_z.fill_(LOG_Z)
    model.log_z_standard_error.fill_(LOG_Z_ERROR)


def events(num: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Random events in [0, 1]; the first ones do not depend on `num`. -> (num, *shape)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.rand(shape, generator=generator) for _ in range(num)])


def events_of(model: GenerativeModel, num: int, seed: int = 0) -> Tensor:
    """Random events that the model is about: on its grid, or real vectors. -> (num, *event)."""
    x = events(num, model.event_shape, seed)
    if model.grid is not None:
        return model.grid.values(model.grid.levels(x * model.grid.top))
    return x if len(model.event_shape) == 3 else 7 * x - 2


def latents_of(model: GenerativeModel, num: int, seed: int = 0) -> Tensor:
    """Standard normal; the first ones do not depend on `num`. -> (num, *latent_shape)."""
    assert model.latent_shape is not None
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randn(model.latent_shape, generator=generator) for _ in range(num)])


class Quadratic(EnergyModel):
    """E(x) = |x - 1/2|^2 / (2 width^2) through the very graphs and sampler of real models."""

    def __init__(self, width: float = 1.0, event_shape: tuple[int, int, int] = (1, 8, 8)) -> None:
        super().__init__(EnergyConfig(event_shape=event_shape), num_outputs=1)
        self.width = width
        self.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        return -(x - 0.5).square().flatten(1).sum(1, keepdim=True) / (2 * self.width**2)


def pair_model(scale: float = 6.0) -> EnergyModel:
    """Three classes over images of two pixels, so that sums over the box are possible."""
    return random_energy_model("jem", event_shape=(1, 1, 2), scale=scale, seed=1)


def midpoints(num: int) -> Tensor:
    """The centres of num x num cells of the unit square as images. -> (num^2, 1, 1, 2)."""
    ticks = (torch.arange(num) + 0.5) / num
    return torch.cartesian_prod(ticks, ticks).view(-1, 1, 1, 2)


def quadrature_log_z(model: EnergyModel, num: int = 400) -> float:
    """Log of the integral of exp(-E) over images of two pixels, by the midpoint rule."""
    energy = torch.cat([model.energy(x) for x in midpoints(num).split(20_000)]).double()
    return float((-energy).exp().mean().log())
