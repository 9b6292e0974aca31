"""Settings that the latent-variable families share, and the posterior and prior they name."""

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.latent.nets import NetName
from models.core.latent.posterior_flows import (
    IAFPosterior,
    PlanarPosterior,
    PosteriorFlow,
    PosteriorName,
    SylvesterPosterior,
)
from models.core.nn.resnet import ResNet
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import Alternate
from models.core.transforms.transform import Chain, Transform


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """Encoder, posterior, prior and objective; families add their decoder."""

    event_shape: tuple[int, ...] = (1, 4, 4)
    num_levels: int = 2
    """Grey levels, or counts of a vector."""
    latent_dims: int = 2
    encoder: NetName = "mlp"
    encoder_channels: tuple[int, ...] = (4, 8)
    """Widths of a convolutional encoder, which halves the sides for each."""
    encoder_hidden: tuple[int, ...] = (16,)
    """Widths of the fully connected layers."""
    posterior: PosteriorName = "normal"
    posterior_blocks: int = 2
    """Blocks of a flow posterior."""
    posterior_units: int = 2
    """Directions in which a Sylvester block moves z; at most latent_dims."""
    posterior_reflections: int = 2
    """Householder reflections of which a Sylvester block's directions are made."""
    posterior_hidden: tuple[int, ...] = (16,)
    """Widths of an inverse autoregressive posterior's masked networks, and of their context."""
    prior: Literal["normal", "coupling"] = "normal"
    prior_blocks: int = 4
    """Couplings of a flow prior."""
    prior_channels: int = 16
    """Width of their networks."""
    num_importance_samples: int = 1
    """Latents in the bound that is trained; 1 is the evidence lower bound, more make an IWAE."""
    free_bits: float = 0.0
    """Least KL that a group of units is charged in training, in nats, of the batch's mean."""
    units_per_group: int = 1
    """Latents that share the free bits."""
    num_samples: int = field(default=16, metadata=KEEPS_WEIGHTS)
    """Latents in the bound that is served unless a request says otherwise."""
    temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature at which latents are drawn unless a request says otherwise."""


def check(config: LatentConfig) -> None:
    """Raises ValueError for settings that do not fit."""
    if config.latent_dims < 1:
        raise ValueError(f"latent_dims {config.latent_dims}: accepted are 1 and more")
    if config.units_per_group < 1 or config.latent_dims % config.units_per_group:
        raise ValueError(
            f"units_per_group {config.units_per_group}: accepted are divisors of latent_dims"
        )
    if config.free_bits < 0:
        raise ValueError(f"free_bits {config.free_bits}: accepted are 0 and more")
    if config.num_importance_samples < 1 or config.num_samples < 1:
        raise ValueError(
            f"num_importance_samples {config.num_importance_samples}, num_samples "
            f"{config.num_samples}: accepted are 1 and more"
        )
    if config.num_importance_samples > 1 and config.free_bits > 0:
        raise ValueError("free_bits: accepted is 0 with several importance samples")


def posterior_flow(config: LatentConfig) -> PosteriorFlow | None:
    """What stands behind the normal posterior. Raises ValueError for settings that do not fit."""
    size, num_blocks = config.latent_dims, config.posterior_blocks
    if config.posterior == "normal":
        return None
    if num_blocks < 1:
        raise ValueError(f"posterior_blocks {num_blocks}: accepted are 1 and more")
    if config.posterior == "planar":
        return PlanarPosterior(size, num_blocks)
    if config.posterior == "sylvester":
        return SylvesterPosterior(
            size, config.posterior_units, config.posterior_reflections, num_blocks
        )
    if config.posterior == "iaf":
        if size < 2:
            raise ValueError(f"latent_dims {size}: an iaf posterior accepts 2 and more")
        hidden = config.posterior_hidden
        return IAFPosterior(size, hidden, hidden[0] if hidden else 1, num_blocks)
    raise ValueError(f"posterior {config.posterior!r}: accepted are normal, planar, sylvester, iaf")


def prior_flow(config: LatentConfig) -> Transform | None:
    """The flow from latents to normal numbers, if any. Raises ValueError if settings do not fit."""
    if config.prior == "normal":
        return None
    if config.prior != "coupling":
        raise ValueError(f"prior {config.prior!r}: accepted are normal, coupling")
    if config.prior_blocks < 1:
        raise ValueError(f"prior_blocks {config.prior_blocks}: accepted are 1 and more")
    network = partial(ResNet, channels=config.prior_channels, num_blocks=1, is_image=False)
    shape = (config.latent_dims,)
    return Chain(
        [
            AffineCoupling(Alternate(shape, swap=index % 2 == 1), network)
            for index in range(config.prior_blocks)
        ]
    )
