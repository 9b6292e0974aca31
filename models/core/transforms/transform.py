"""Invertible maps with their log-determinants: the parts that flows are built from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Transform(nn.Module, ABC):
    """x <-> z, one to one. Rows are independent; both directions return log abs det.

    `forward` gives z and log abs det dz/dx, `inverse` gives x and log abs det dx/dz, each (B,).
    """

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, *in) -> (B, *out), (B,)."""

    @abstractmethod
    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, *out) -> (B, *in), (B,)."""

    def initialise(self, x: Tensor) -> Tensor:
        """Set what depends on the data from a first batch; returns z. Shapes as in `forward`."""
        with torch.no_grad():
            return self(x)[0]


class Chain(Transform):
    """Transforms one after the other, the first next to x."""

    def __init__(self, parts: Sequence[Transform]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(x.shape[0])
        for part in self.parts:
            x, log_abs_det = part(x)
            total = total + log_abs_det
        return x, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        total = z.new_zeros(z.shape[0])
        for part in reversed(self.parts):
            assert isinstance(part, Transform)
            z, log_abs_det = part.inverse(z)
            total = total + log_abs_det
        return z, total

    def initialise(self, x: Tensor) -> Tensor:
        for part in self.parts:
            assert isinstance(part, Transform)
            x = part.initialise(x)
        return x


class Flatten(Transform):
    """An image as a vector. Shapes: (B, *shape) <-> (B, D)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.unflatten(1, self.shape), z.new_zeros(z.shape[0])


class Standardise(Transform):
    """(x - mean) / std by fixed statistics of the training data, which travel with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, x: Tensor) -> None:
        """Set both by training data; a constant column keeps scale 1. Shapes: (N, *shape)."""
        self.mean.copy_(x.double().mean(0))
        std = x.double().std(0)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.std, (-self.std.log().sum()).expand(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * self.std + self.mean, self.std.log().sum().expand(z.shape[0])


class Logit(Transform):
    """y in (0, 1) to the real line: logit(margin + (1 - 2 margin) y).

    Dinh et al. 2017, arXiv:1605.08803, section 4.1; the margin keeps the ends finite.
    """

    def __init__(self, margin: float = 0.05) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        p = self.margin + (1 - 2 * self.margin) * x
        z = p.log() - (-p).log1p()
        # d logit(p) / dp = 1 / (p (1 - p))
        slope = torch.full_like(x, 1 - 2 * self.margin).log() - p.log() - (-p).log1p()
        return z, slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x = (z.sigmoid() - self.margin) / (1 - 2 * self.margin)
        # log sigmoid'(z), written so that neither torch nor ONNX Runtime underflows
        slope = -nn.functional.softplus(-z) - nn.functional.softplus(z)
        slope = slope - torch.full_like(z, 1 - 2 * self.margin).log()
        return x, slope.flatten(1).sum(1)


class Centre(Transform):
    """y in (0, 1) to `scale` (y - 1/2): for networks that take the pixels as they are."""

    def __init__(self, scale: float = 2.0) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size = x[0].numel()
        return (x - 0.5) * self.scale, x.new_full((x.shape[0],), self.scale).log() * size

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        size = z[0].numel()
        return z / self.scale + 0.5, -z.new_full((z.shape[0],), self.scale).log() * size
