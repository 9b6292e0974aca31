"""Integer discrete flow: a flow from integers to integers, whose likelihood of pixels is exact.

Hoogeboom et al. 2019, "Integer Discrete Flows and Lossless Compression", arXiv:1905.07376; van den
Berg et al. 2021, "IDF++", arXiv:2006.12459; couplings of four parts by Tomczak 2021,
arXiv:2011.15056. log P(x) = log P(z): no Jacobian, no dequantisation.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from models.core.coding.integer import IntegerCodec
from models.core.coding.programs import compression
from models.core.contract.grid import grid_of
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import Operation
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.derived.log_likelihood import likelihood_operations
from models.core.integer.maps import IntegerChain, IntegerCoupling, IntegerMap, Permute
from models.core.integer.net import PlaceNet, Table
from models.core.integer.prior import IntegerMixture, integer_mixture
from models.core.integer.programs import (
    IntegerDecode,
    IntegerEncode,
    IntegerLogLikelihood,
    IntegerSample,
)
from models.core.nn.masked import permutation
from models.core.transforms.multiscale import squeeze, squeezed_shape, unsqueeze


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are a tiny model of 4x4 images; only images are accepted."""

    event_shape: tuple[int, ...] = (1, 4, 4)
    num_levels: int = 4
    num_scales: int = 2
    """Times the image is squeezed, one group of the channels going on after each but the last."""
    num_groups: int = 4
    """Groups of a scale's channels, coded one after the other, each given those before it."""
    flow_steps: int = 1
    """Couplings of each scale, a fixed permutation of the channels between them; with 0 the latents
    are the pixels themselves."""
    num_parts: int = 4
    """Parts of a coupling: 2 as in IDF, 4 as in general invertible transformations."""
    shift: float = 1.0
    """Levels that a coupling moves a latent by when its network says 1; few, since the gradient
    through rounding is biased, and latents that jump about undo what the priors have learned."""
    channels: int = 8
    """Width of the couplings' networks."""
    num_blocks: int = 1
    """Residual blocks of the couplings' networks."""
    prior_channels: int = 8
    prior_blocks: int = 1
    num_components: int = 3
    """Logistics of the mixture that every latent has."""
    temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature at which samples are drawn unless a request says otherwise."""
    seed: int = 0
    """Seed of the permutations; it belongs to the weights."""


class Latent(NamedTuple):
    """A part of z, and what its prior is given."""

    z: Tensor
    """Whole numbers (B, c, h, w)."""
    given: Tensor
    """What the parts before it tell, at its own scale: whole numbers (B, g, h, w), g from 0 on."""


class Model(GenerativeModel):
    """z in parts, the deepest first; each has a mixture of logistics given all before it.

    An entropy coder codes `latents(levels)` in their order, each by `prior(index, given)`; decoding
    begins at `start(num_rows)` and goes on by `join(index, given, z)`, which is what the next part
    is given, and at last the levels. All are whole numbers as floats, in the weights' dtype.
    """

    config: Config

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the sides cannot be halved num_scales times, or for vectors."""
        _check(config)
        super().__init__()
        self.config = config
        self.event_shape = config.event_shape
        self.latent_shape = (self.num_dims,)
        self.grid = grid_of(config.event_shape, config.num_levels)
        self.likelihood = Likelihood.EXACT
        self.unit = (config.num_levels - 1) / 2
        shapes, shape = [], config.event_shape
        for _ in range(config.num_scales):
            shapes.append(squeezed_shape(shape))
            shape = (shapes[-1][0] // config.num_groups, *shapes[-1][1:])
        self.shapes = shapes[::-1]
        """Shapes of the scales after squeezing, the deepest first, as everything here."""
        self.num_parts = 1 + config.num_scales * (config.num_groups - 1)
        self.flows = nn.ModuleList(_flow(config, s, i) for i, s in enumerate(self.shapes))
        self.priors = nn.ModuleList(self._prior(index) for index in range(self.num_parts))

    def part_shape(self, index: int) -> tuple[int, int, int]:
        """(c, h, w) of a part of z."""
        num_channels, height, width = self.shapes[self._place(index)[0]]
        return num_channels // self.config.num_groups, height, width

    def _place(self, index: int) -> tuple[int, int]:
        """The scale of a part, and which group of its channels it is."""
        per_scale = self.config.num_groups - 1
        scale = max(index - 1, 0) // per_scale
        return scale, index - scale * per_scale

    def _prior(self, index: int) -> nn.Module:
        config = self.config
        num_channels, *sides = self.part_shape(index)
        num_out = 3 * config.num_components * num_channels
        if index == 0:
            return Table(num_out, sides)
        num_given = self._place(index)[1] * num_channels
        return PlaceNet(num_given, num_out, sides, config.prior_channels, config.prior_blocks)

    def latents(self, levels: Tensor) -> list[Latent]:
        """The parts of z, the first coded (deepest) first. Shapes: (B, C, H, W)."""
        latents: list[Latent] = []
        h = levels
        for flow in reversed(self.flows):
            groups = flow(squeeze(h)).chunk(self.config.num_groups, 1)
            for index in reversed(range(1, len(groups))):
                latents.append(Latent(groups[index], torch.cat(groups[:index], 1)))
            h = groups[0]
        latents.append(Latent(h, h[:, :0]))
        return latents[::-1]

    def start(self, num_rows: int) -> Tensor:
        """What the first part is given: nothing. -> (num_rows, 0, h, w)."""
        _, height, width = self.part_shape(0)
        weight = next(self.parameters())
        return weight.new_zeros(num_rows, 0, height, width)

    def prior(self, index: int, given: Tensor) -> IntegerMixture:
        """The distribution of part `index`. Shapes: (B, g, h, w) -> of latents (B, c, h, w)."""
        params = self.priors[index](given / self.unit)
        return integer_mixture(params, self.part_shape(index)[0], self.unit)

    def join(self, index: int, given: Tensor, z: Tensor) -> Tensor:
        """What part index + 1 is given; after the last part, the levels (B, C, H, W).

        Shapes: given (B, g, h, w), z (B, c, h, w).
        """
        known = torch.cat([given, z], 1)
        scale, group = self._place(index)
        if group < self.config.num_groups - 1:
            return known
        flow = self.flows[scale]
        assert isinstance(flow, IntegerMap)
        return unsqueeze(flow.inverse(known))

    def log_prob(self, x: Tensor) -> Tensor:
        """log P of the pixels, exact. Shapes: (B, C, H, W) in [0, 1] -> (B,), nats."""
        parts = enumerate(self.latents(self.levels(x)))
        every = [self.prior(i, given).log_prob(z).flatten(1).sum(1) for i, (z, given) in parts]
        return torch.stack(every).sum(0)

    def levels(self, x: Tensor) -> Tensor:
        """Whole numbers 0 .. num_levels - 1 in the dtype of x. Shapes: (B, C, H, W), the same."""
        assert self.grid is not None
        return self.grid.levels(x).to(x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        """All of z as one vector. Shapes: (B, C, H, W) -> whole numbers (B, D)."""
        return torch.cat([z.flatten(1) for z, _ in self.latents(self.levels(x))], 1)

    def decode(self, z: Tensor) -> Tensor:
        """Levels, which z that no image has may take out of range. Shapes: (B, D) -> (B, C, H, W).

        Numbers that are not whole are rounded first.
        """
        known = self.start(z.shape[0])
        for index, part in enumerate(self._parts(z.round())):
            known = self.join(index, known, part)
        return known

    def draw(self, u: Tensor, temperature: Tensor) -> Tensor:
        """Levels of samples, which may lie out of range. Shapes: u in [0, 1) (B, D, 2), (B,)."""
        known = self.start(u.shape[0])
        for index, part in enumerate(self._parts(u)):
            z = self.prior(index, known).sample(part, temperature.view(-1, 1, 1, 1))
            known = self.join(index, known, z)
        return known

    def _parts(self, vectors: Tensor) -> list[Tensor]:
        """Shapes: (B, D, ...) -> each part's (B, c, h, w, ...)."""
        shapes = [self.part_shape(index) for index in range(self.num_parts)]
        parts = vectors.split([torch.Size(shape).numel() for shape in shapes], 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, shapes, strict=True)]

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Minus log_prob; the gradient passes through all rounding. -> (B,), nats."""
        return -self.log_prob(x)

    def precise(self) -> Self:
        """A copy in float64.

        In float32 a number changes with the batch that it is computed in, and of one near a half
        rounding makes a whole level. In float64 none is near enough.
        """
        return copy.deepcopy(self).double()

    def operations(self) -> Mapping[str, Operation[Any]]:
        log_likelihood = IntegerLogLikelihood(self)
        return {
            **compression(self, IntegerCodec(self)),
            "sample": IntegerSample(self),
            **likelihood_operations(self, log_likelihood),
            "encode": IntegerEncode(self),
            "decode": IntegerDecode(self),
        }


def _check(config: Config) -> None:
    if len(config.event_shape) != 3:
        raise ValueError(f"event_shape {config.event_shape}: accepted are images (C, H, W)")
    if config.shift <= 0:
        raise ValueError(f"shift {config.shift}: accepted are positive numbers")
    for name, least in (("num_scales", 1), ("num_components", 1), ("flow_steps", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} {getattr(config, name)}: accepted are {least} and more")
    for name in ("num_groups", "num_parts"):
        if getattr(config, name) not in (2, 4):
            raise ValueError(f"{name} {getattr(config, name)}: accepted are 2 and 4")


def _flow(config: Config, shape: tuple[int, int, int], index: int) -> IntegerChain:
    """The couplings of one scale."""
    num_channels, *sides = shape
    width, unit = config.channels, (config.num_levels - 1) / 2
    network = partial(PlaceNet, sides=sides, channels=width, num_blocks=config.num_blocks)
    parts: list[IntegerMap] = []
    for step in range(config.flow_steps):
        if step:
            parts.append(Permute(permutation(num_channels, config.seed, step, stream=index)))
        parts.append(IntegerCoupling(num_channels, config.num_parts, network, unit, config.shift))
    return IntegerChain(parts)
