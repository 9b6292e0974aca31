"""Residual flows and i-DenseNets: blocks x + g(x) of which nothing is known but that g contracts.

Chen et al. 2019, "Residual Flows for Invertible Generative Modeling", arXiv:1906.02735; Behrmann et
al. 2019, "Invertible Residual Networks", arXiv:1811.00995; Perugachi-Diaz et al. 2021, "Invertible
DenseNets with Concatenated LipSwish", arXiv:2102.02694.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.likelihood import Likelihood
from models.core.contract.operation import Operation
from models.core.derived.log_likelihood import likelihood_operations
from models.core.flow.contraction_programs import DecodeByContraction, SampleByContraction
from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.flow.residual_programs import EXACT_DIMS, ResidualLogLikelihood
from models.core.nn.lipschitz import Spectral, SpectralConv, SpectralLinear
from models.core.nn.lipschitz_net import ActivationName, LipschitzNet
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.multiscale import Squeeze, squeezed_shape
from models.core.transforms.residual import (
    LogDet,
    ResidualBlock,
    Roulette,
    exact,
    remainder,
    unasked,
)
from models.core.transforms.transform import Chain, Flatten, Transform


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 4x4 images."""

    blocks_at: tuple[int, ...] = (1, 1)
    """Blocks at full resolution, after one squeeze, after two, ...; vectors get the sum of them."""
    fully_connected: bool = False
    """Images as vectors too; blocks_at then has one entry."""
    channels: int = 6
    """New channels of each layer of a block's network."""
    depth: int = 2
    """Layers of a block's network before its last."""
    dense: bool = True
    """i-DenseNet: a layer sees all layers before it; else a residual flow's plain network."""
    activation: ActivationName = "clipswish"
    kernel: int = 3
    lipschitz: float = 0.9
    """Cap of a block's Lipschitz constant; near 1 blocks do more and are slower to invert."""
    exact_terms: int = 4
    """Terms of the log-determinant's series that training always computes."""
    roulette: float = 0.5
    """The chance of each further term, given the one before it."""


class Model(FlowModel):
    """z = f(x) by blocks of actnorm and x + g(x), and an actnorm of all values at the end."""

    config: Config

    def __init__(self, config: Config) -> None:
        """Raises ValueError for blocks_at or a network that cannot be."""
        num_dims = int(torch.Size(config.event_shape).numel())
        blocks, after = list(_blocks(config, num_dims)), ActNorm((num_dims,))
        flatten = Flatten(config.event_shape)
        super().__init__(config, Chain([flatten, *blocks, after]))
        entrance = self.flow.parts[0]
        assert isinstance(entrance, Transform)
        # In tuples, since all of them are modules of the flow already.
        self.ends, self.blocks = (Chain([entrance, flatten]), after), tuple(blocks)
        self.roulette = Roulette(config.exact_terms, config.roulette)
        if num_dims > EXACT_DIMS:
            self.likelihood = Likelihood.ESTIMATE

    def through(self, y: Tensor, log_det: LogDet) -> tuple[Tensor, Tensor]:
        """`flow`, with the blocks' log-determinants by `log_det`.

        Shapes: (B, *event) -> (B, D), (B,).
        """
        before, after = self.ends
        h, total = before(y)
        for block in self.blocks:
            h, log_abs_det = block.by(log_det, h)
            total = total + log_abs_det
        z, log_abs_det = after(h)
        return z, total + log_abs_det

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Minus log_prob at fresh noise; in training, and of many dimensions, without bias.

        Shapes: x (B, *event) -> (B,), nats.
        """
        if self.training:
            for module in self.modules():
                if isinstance(module, Spectral):
                    module.project()
        few = self.num_dims <= EXACT_DIMS and not self.training
        u, log_q = self.dequantise(x, torch.randn_like(x))
        z, log_abs_det = self.through(u, exact if few else self.roulette)
        return log_q - self.base.log_prob(z) - log_abs_det

    def encode(self, x: Tensor, eps: Tensor) -> Tensor:
        """The latent of an event, dequantised with eps. Shapes: (B, *event) x 2 -> (B, D)."""
        return self.through(self.dequantise(x, eps)[0], unasked)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The continuous variable of a latent. Shapes: (B, D) -> (B, *event)."""
        before, after = self.ends
        h = after.inverse(z)[0]
        for block in reversed(self.blocks):
            h = block.solved(h)
        return before.inverse(h)[0]

    def truncation_bound(self, num_terms: int) -> float:
        """How far log_prob is at most, in nats, from that of the whole series, on average over
        probes, if each block's series is cut after `num_terms`."""
        caps = [block.net.cap for block in self.blocks]
        return sum(remainder(cap, self.num_dims, num_terms) for cap in caps)

    def graphs(self) -> Mapping[str, Graph]:
        """None: there is no determinant in ONNX, and no end to an inverse known beforehand."""
        return {}

    def operations(self) -> Mapping[str, Operation[Any]]:
        parts = (self, self.ends, self.blocks)
        log_likelihood = ResidualLogLikelihood(*parts)
        return {
            **super().operations(),
            "sample": SampleByContraction(*parts),
            **likelihood_operations(self, log_likelihood),
            "decode": DecodeByContraction(*parts),
        }


def _blocks(config: Config, num_dims: int) -> Iterator[ResidualBlock]:
    """The blocks in the order from x to z."""
    if min(config.blocks_at, default=-1) < 0 or sum(config.blocks_at) < 1:
        raise ValueError(f"blocks_at {config.blocks_at}: accepted are counts with a sum above 0")
    if len(config.event_shape) == 1 or config.fully_connected:
        if config.fully_connected and len(config.blocks_at) > 1:
            raise ValueError(f"blocks_at {config.blocks_at}: accepted is one entry without images")
        for _ in range(sum(config.blocks_at)):
            yield _block(config, (num_dims,), (num_dims,), [])
        return
    outer = inner = config.event_shape
    squeezes: list[Transform] = []
    for scale, num in enumerate(config.blocks_at):
        if scale > 0:
            squeezes, inner = [*squeezes, Squeeze()], squeezed_shape(inner)
        for _ in range(num):
            yield _block(config, outer, inner, squeezes)
            outer, squeezes = inner, []


def _block(
    config: Config, outer: tuple[int, ...], inner: tuple[int, ...], squeezes: list[Transform]
) -> ResidualBlock:
    wide: Callable[[int, int, float], Spectral] = SpectralLinear
    narrow = wide
    if len(inner) == 3:
        _, height, width = inner
        wide = partial(SpectralConv, sides=(height, width), kernel=config.kernel)
        narrow = partial(SpectralConv, sides=(height, width), kernel=1)
    net = LipschitzNet(
        inner[0],
        width=config.channels,
        depth=config.depth,
        dense=config.dense,
        activation_name=config.activation,
        cap=config.lipschitz,
        wide=wide,
        narrow=narrow,
    )
    return ResidualBlock(outer, inner, Chain([*squeezes, ActNorm(inner)]), net)
