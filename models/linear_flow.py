"""Linear flow: PLU, QR or 1x1-convolution layers, between which marginals are made logistic.

Without marginal maps it is the linear flow whose latents are W x + b (Kingma and Dhariwal 2018,
arXiv:1807.03039, section 3.2; Tomczak and Welling 2016, arXiv:1611.09630); with them a
Gaussianization flow (Meng et al. 2020, arXiv:2003.01941).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.linear import LinearName, linear
from models.core.transforms.mixture_cdf import MixtureCDF
from models.core.transforms.multiscale import Squeeze, squeezed_shape
from models.core.transforms.transform import Chain, Flatten, Transform


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 4x4 images."""

    num_blocks: int = 2
    """A marginal map and a linear map each."""
    num_components: int = 3
    """Logistics in the mixture of every entry's marginal map; 0 leaves the flow linear."""
    linear: Literal["plu", "qr", "1x1"] = "plu"
    """Over all entries, or 1x1 over the channels of an image squeezed as often as can be."""


class Model(FlowModel):
    """Marginal map, linear map, and again; with no mixture the marginal map is an actnorm."""

    def __init__(self, config: Config) -> None:
        """Raises ValueError for fewer than one block, or for a 1x1 convolution of vectors."""
        if config.num_blocks < 1:
            raise ValueError(f"num_blocks {config.num_blocks}: accepted are 1 and more")
        super().__init__(config, _transform(config))


def _transform(config: Config) -> Transform:
    """(B, *event_shape) -> (B, D)."""
    shape = config.event_shape
    if config.linear != "1x1":
        size = torch.Size(shape).numel()
        return Chain([Flatten(shape), *_blocks((size,), config.linear, config)])
    if len(shape) != 3:
        raise ValueError("linear '1x1': accepted are images (C, H, W); or take 'plu' or 'qr'")
    squeezes = []
    while shape[1] % 2 == 0 and shape[2] % 2 == 0:
        shape = squeezed_shape(shape)
        squeezes.append(Squeeze())
    return Chain([*squeezes, *_blocks(shape, "plu", config), Flatten(shape)])


def _blocks(shape: tuple[int, ...], name: LinearName, config: Config) -> list[Transform]:
    parts: list[Transform] = []
    for _ in range(config.num_blocks):
        num = config.num_components
        parts += [MixtureCDF(shape, num) if num else ActNorm(shape), linear(name, shape)]
    # Logistic marginals are wider than the normal base; this sets the width from the data.
    return [*parts, ActNorm(shape)]
