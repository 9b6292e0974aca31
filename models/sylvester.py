"""Planar and Sylvester flows, quick to sample with a known density, and generalised ones.

Rezende and Mohamed 2015, "Variational inference with normalizing flows", arXiv:1505.05770;
van den Berg et al. 2018, "Sylvester normalizing flows for variational inference",
arXiv:1803.05649; Hoogeboom et al. 2020, "The convolution exponential and generalized Sylvester
flows", arXiv:2006.01910.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.nn.resnet import ResNet
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.autoregressive import Inverse
from models.core.transforms.convolution_exponential import (
    ConvolutionExponential,
    GeneralisedSylvester,
)
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import ChannelHalves
from models.core.transforms.multiscale import Squeeze, squeezed_shape
from models.core.transforms.planar import Planar
from models.core.transforms.sylvester import Sylvester
from models.core.transforms.transform import Chain, Flatten, Transform

_KINDS = ("planar", "sylvester", "convolution_exponential")


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of pairs of real numbers."""

    event_shape: tuple[int, ...] = (2,)
    num_levels: int = 0
    kind: Literal["planar", "sylvester", "convolution_exponential"] = "sylvester"
    """The last is of images of even sides only, and its directions cost the same."""
    num_blocks: int = 3
    num_units: int = 2
    """Directions in which a Sylvester block moves z; at most the dimensions."""
    num_reflections: int = 2
    """Householder reflections of which a Sylvester block's directions are made."""
    channels: int = 8
    """Width of the couplings' networks inside convolution exponentials."""
    num_layers: int = 1
    """Residual blocks of these networks."""
    max_norm: float = 1.5
    """Bound on the norm of the convolutions whose exponential is taken."""
    num_terms: int = 12
    """Powers of such a convolution in its series."""


class Model(FlowModel):
    """x = block_n(.. block_1(z)) with a scale and a shift at either end, the blocks forwards.

    A likelihood solves the blocks' equations, to float precision. Convolution exponentials take x
    to z, after a squeeze.
    """

    config: Config

    def __init__(self, config: Config) -> None:
        """Raises ValueError for a kind that is not known or does not fit the events."""
        if config.kind not in _KINDS:
            raise ValueError(f"kind {config.kind!r}: accepted are {', '.join(_KINDS)}")
        if config.num_blocks < 1:
            raise ValueError(f"num_blocks {config.num_blocks}: accepted are 1 and more")
        convolutional = config.kind == "convolution_exponential"
        super().__init__(config, _of_images(config) if convolutional else _of_vectors(config))


def _of_vectors(config: Config) -> Transform:
    """(B, *event) -> (B, D)."""
    size = int(torch.Size(config.event_shape).numel())
    blocks: Transform
    if config.kind == "planar":
        blocks = Planar(size, config.num_blocks)
    else:
        blocks = Sylvester(size, config.num_units, config.num_reflections, config.num_blocks)
    ends = ActNorm((size,)), ActNorm((size,))
    return Chain([Flatten(config.event_shape), ends[0], Inverse(blocks), ends[1]])


def _of_images(config: Config) -> Transform:
    """(B, C, H, W) -> (B, D)."""
    if len(config.event_shape) != 3 or config.event_shape[1] % 2 or config.event_shape[2] % 2:
        raise ValueError(
            f"event_shape {config.event_shape}: convolution_exponential accepts images (C, H, W) "
            "of even sides"
        )
    if not 0 < config.max_norm < config.num_terms + 2:
        raise ValueError(f"max_norm {config.max_norm}: accepted are 0 to num_terms + 2")
    shape = squeezed_shape(config.event_shape)
    network = partial(ResNet, channels=config.channels, num_blocks=config.num_layers, is_image=True)
    parts: list[Transform] = [Squeeze()]
    for index in range(config.num_blocks):
        basis = ConvolutionExponential(shape, max_norm=config.max_norm, num_terms=config.num_terms)
        coupling = AffineCoupling(ChannelHalves(shape, swap=index % 2 == 1), network)
        parts += [ActNorm(shape), GeneralisedSylvester(basis, coupling)]
    return Chain([*parts, Flatten(shape)])
