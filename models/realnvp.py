"""Real-valued non-volume-preserving flow: affine couplings at several resolutions.

Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803. Actnorm stands where the
paper has batch norm, which would let one row see another.
"""

from dataclasses import dataclass
from functools import partial

from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.nn.resnet import ResNet
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import ChannelHalves, Halves, halves
from models.core.transforms.multiscale import FactorOut, Squeeze, kept_shape, squeezed_shape
from models.core.transforms.transform import Chain, Flatten, Transform


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 4x4 images; vectors have one scale."""

    num_scales: int = 2
    """Resolutions of images, each half of the one before; sides must be even that often."""
    num_couplings: int = 3
    """Checkerboard couplings of each scale, and as many by channels; of a vector, all there are."""
    channels: int = 8
    """Width of every coupling's network."""
    num_blocks: int = 1
    """Residual blocks of every coupling's network."""
    coordinates: bool = False
    """Whether those networks see where in the image a pixel is."""


class Model(FlowModel):
    """Couplings by checkerboard, squeeze, couplings by channels, half factored out; and again."""

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the sides cannot be halved num_scales - 1 times."""
        for name in ("num_scales", "num_couplings"):
            if getattr(config, name) < 1:
                raise ValueError(f"{name} {getattr(config, name)}: accepted are 1 and more")
        shape = config.event_shape
        is_image = len(shape) == 3
        transform = _scale(shape, config.num_scales, config) if is_image else _flat(shape, config)
        super().__init__(config, transform)


def _flat(shape: tuple[int, ...], config: Config) -> Transform:
    """The flow of a vector: alternate entries move in turns."""
    return Chain(
        _couplings([halves(shape, swap=i % 2 == 1) for i in _range(config)], shape, config)
    )


def _scale(shape: tuple[int, ...], num_scales: int, config: Config) -> Transform:
    """The flow of one resolution and all below. (B, *shape) -> (B, D)."""
    checkerboard = [halves(shape, swap=i % 2 == 1) for i in _range(config)]
    parts = _couplings(checkerboard, shape, config)
    if num_scales == 1:
        last = halves(shape, swap=config.num_couplings % 2 == 1)
        return Chain([*parts, *_couplings([last], shape, config), Flatten(shape)])
    small = squeezed_shape(shape)
    by_channels = [ChannelHalves(small, swap=i % 2 == 1) for i in _range(config)]
    rest = _scale(kept_shape(small), num_scales - 1, config)
    parts += [Squeeze(), *_couplings(by_channels, small, config), FactorOut(small, rest)]
    return Chain(parts)


def _couplings(
    halvings: list[Halves] | list[ChannelHalves], shape: tuple[int, ...], config: Config
) -> list[Transform]:
    network = partial(
        ResNet,
        channels=config.channels,
        num_blocks=config.num_blocks,
        is_image=len(shape) == 3,
        coordinates=config.coordinates,
    )
    parts: list[Transform] = []
    for parting in halvings:
        parts += [ActNorm(shape), AffineCoupling(parting, network)]
    return parts


def _range(config: Config) -> range:
    return range(config.num_couplings)
