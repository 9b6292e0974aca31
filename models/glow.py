"""Glow: actnorm, invertible 1x1 convolution and affine coupling, at several resolutions.

Kingma and Dhariwal 2018, "Glow: Generative Flow with Invertible 1x1 Convolutions",
arXiv:1807.03039.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.nn.resnet import ResNet
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import ChannelHalves
from models.core.transforms.linear import LinearName, linear
from models.core.transforms.multiscale import FactorOut, Squeeze, kept_shape, squeezed_shape
from models.core.transforms.transform import Chain, Flatten, Transform
from models.core.transforms.variational_dequantisation import VariationalDequantisation


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 4x4 images; only images are accepted."""

    num_scales: int = 2
    """Times the image is squeezed, half of it factored out after each but the last."""
    flow_steps: int = 2
    """Actnorm, 1x1 convolution and coupling, so many times at each scale."""
    channels: int = 8
    """Width of every coupling's network."""
    num_blocks: int = 1
    """Residual blocks of every coupling's network."""
    coordinates: bool = False
    """Whether those networks see where in the image a pixel is."""
    linear: LinearName = "plu"
    """Decomposition of the 1x1 convolution."""
    dequantisation: Literal["uniform", "variational"] = "uniform"
    dequantisation_channels: int = 8
    """Width of the networks of the variational dequantisation, which has 4 couplings."""


class Model(FlowModel):
    """Squeeze, steps of flow, half factored out under a prior given the other half; and again."""

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the sides cannot be halved num_scales times, or for vectors."""
        if len(config.event_shape) != 3:
            raise ValueError(f"event_shape {config.event_shape}: accepted are images (C, H, W)")
        for name in ("num_scales", "flow_steps"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name} {getattr(config, name)}: accepted are 1 and more")
        transform = _scale(config.event_shape, config.num_scales, config)
        super().__init__(config, transform, _dequantisation(config))


def _dequantisation(config: Config) -> VariationalDequantisation | None:
    if config.dequantisation == "uniform":
        return None
    if config.dequantisation != "variational":
        raise ValueError(
            f"dequantisation {config.dequantisation!r}: accepted are 'uniform' and 'variational'"
        )
    return VariationalDequantisation(
        config.num_levels, config.event_shape, channels=config.dequantisation_channels
    )


def _scale(shape: tuple[int, ...], num_scales: int, config: Config) -> Transform:
    """The flow of one resolution and all below. (B, *shape) -> (B, D)."""
    shape = squeezed_shape(shape)
    parts: list[Transform] = [Squeeze()]
    for _ in range(config.flow_steps):
        parts += [
            ActNorm(shape),
            linear(config.linear, shape),
            _coupling(shape, config, config.num_blocks),
        ]
    if num_scales == 1:
        return Chain([*parts, Flatten(shape)])
    # The learned prior of the paper: what is factored out is standardised given what is kept.
    prior = _coupling(shape, config, 0)
    rest = _scale(kept_shape(shape), num_scales - 1, config)
    return Chain([*parts, prior, FactorOut(shape, rest)])


def _coupling(shape: tuple[int, ...], config: Config, num_blocks: int) -> AffineCoupling:
    network = partial(
        ResNet,
        channels=config.channels,
        num_blocks=num_blocks,
        is_image=True,
        coordinates=config.coordinates,
    )
    return AffineCoupling(ChannelHalves(shape), network)
