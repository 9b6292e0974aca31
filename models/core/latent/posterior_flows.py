"""Flows behind a normal posterior, whose parameters an encoder gives for every row.

Planar: Rezende and Mohamed 2015, arXiv:1505.05770; Sylvester: van den Berg et al. 2018,
arXiv:1803.05649; inverse autoregressive: Kingma et al. 2016, arXiv:1606.04934.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, silu, softplus

from models.core.nn.masked import MaskedMLP, wiring
from models.core.transforms.planar import planar
from models.core.transforms.sylvester import householder, sylvester, triangles

PosteriorName = Literal["normal", "planar", "sylvester", "iaf"]


class PosteriorFlow(nn.Module, ABC):
    """A map of z that is cheap forwards; nobody asks for its inverse."""

    num_params: int
    """Numbers that the encoder gives for each row."""

    @abstractmethod
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """The image of z and log abs det. Shapes: (B, D), (B, num_params) -> (B, D), (B,)."""


class PlanarPosterior(PosteriorFlow):
    """Planar maps one after the other, all their numbers from the encoder."""

    def __init__(self, size: int, num_blocks: int) -> None:
        super().__init__()
        self.size, self.num_blocks = size, num_blocks
        self.num_params = num_blocks * (2 * size + 1)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for block in params.chunk(self.num_blocks, 1):
            u, w, b = block.split([self.size, self.size, 1], 1)
            z, log_abs_det = planar(z, u, w, b.squeeze(1))
            total = total + log_abs_det
        return z, total


class SylvesterPosterior(PosteriorFlow):
    """Sylvester maps with Householder reflections, all their numbers from the encoder (H-SNF)."""

    starts: Tensor

    def __init__(self, size: int, num_units: int, num_reflections: int, num_blocks: int) -> None:
        """Raises ValueError if there are more units than dimensions, or no reflection."""
        super().__init__()
        if not 1 <= num_units <= size:
            raise ValueError(f"num_units {num_units}: accepted are 1 up to {size}, the latents")
        if num_reflections < 1:
            raise ValueError(f"num_reflections {num_reflections}: accepted are 1 and more")
        self.num_blocks = num_blocks
        self.shapes = (
            (num_reflections, size),
            (num_units, num_units),
            (num_units, num_units),
            (num_units,),
        )
        self.sizes = [torch.Size(shape).numel() for shape in self.shapes]
        self.num_params = num_blocks * sum(self.sizes)
        # Reflections without a direction would stay without: the encoder gives what differs.
        starts = torch.arange(num_reflections * size).view(num_reflections, size).cos()
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for block in params.chunk(self.num_blocks, 1):
            parts = zip(block.split(self.sizes, 1), self.shapes, strict=True)
            vectors, raw_r, raw_r_tilde, b = (part.unflatten(1, shape) for part, shape in parts)
            q = householder(vectors + self.starts, raw_r.shape[-1])
            z, log_abs_det = sylvester(z, q, *triangles(raw_r, raw_r_tilde), b)
            total = total + log_abs_det
        return z, total


class _Gates(MaskedMLP):
    """A masked network whose first hidden layer also sees a context."""

    def __init__(self, order: Tensor, hidden: Sequence[int], num_context: int) -> None:
        super().__init__([wiring(order, hidden)], 1, 2, activation="silu")
        self.context = nn.Linear(num_context, hidden[0], bias=False)

    def given(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """m and s of equation 14. Shapes: (B, D), (B, C) -> (B, D), (B, D)."""
        weights, output, _ = self.weights()
        h = z
        for index, (weight, layer) in enumerate(zip(weights, self.linears, strict=True)):
            h = linear(h, weight, layer.bias)
            h = silu(h + self.context(context) if index == 0 else h)
        gates = linear(h, output, self.output.bias).unflatten(1, (self.num_dims, 2))
        m, s = gates.to(z.dtype).unbind(-1)
        return m, s


class IAFPosterior(PosteriorFlow):
    """z <- sigmoid(s) z + (1 - sigmoid(s)) m, with m and s by a masked network of z and a context
    (1606.04934, equations 13 and 14); the order turns round from block to block."""

    def __init__(self, size: int, hidden: Sequence[int], num_context: int, num_blocks: int) -> None:
        super().__init__()
        self.num_params = num_context
        places = torch.arange(size)
        self.blocks = nn.ModuleList(
            _Gates(places.flip(0) if index % 2 else places, hidden, num_context)
            for index in range(num_blocks)
        )

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(len(z))
        for block in self.blocks:
            assert isinstance(block, _Gates)
            m, s = block.given(z, params)
            s = s + 1.5  # a gate nearly open at first, as the paper advises
            gate = s.sigmoid()
            z = gate * z + (1 - gate) * m
            total = total - softplus(-s).sum(1)
        return z, total
