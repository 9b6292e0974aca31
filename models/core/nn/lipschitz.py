"""Linear maps whose spectral norm is held below a cap: dense layers and convolutions.

Behrmann et al. 2019, "Invertible Residual Networks", arXiv:1811.00995, section 2.1. All norms are
Euclidean.
"""

import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

_MARGIN = 2**-9
"""Kept below a cap, so that weights rounded to half precision still are within it."""


class Spectral(nn.Module, ABC):
    """A linear map whose spectral norm is at most `cap`: weights beyond it are scaled down.

    The weights themselves are kept inside, by `project` in training and exactly by `fold` whenever
    the module is put into eval mode (Gouk et al. 2021, "Regularisation of neural networks by
    enforcing Lipschitz continuity", arXiv:1804.04368). The set is convex, so that an average of
    weights is inside too, and what is stored needs no power iteration.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    _guess: Tensor

    def __init__(self, weight: Tensor, cap: float) -> None:
        super().__init__()
        self.cap = cap
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(weight.shape[0]))
        start = torch.randn(self.matrices()[..., 0, :].shape).to(self.matrices().dtype)
        self.register_buffer("_guess", start, persistent=False)
        self.fold()

    @abstractmethod
    def matrices(self) -> Tensor:
        """Matrices whose largest spectral norm is a bound of the map's. -> (F, out, in)."""

    @torch.no_grad()
    def bound(self) -> Tensor:
        """A bound on the spectral norm, by singular values in float64; exact for a dense map."""
        matrices = self.matrices()
        if not bool(matrices.isfinite().all()):
            return torch.tensor(torch.inf, device=matrices.device)
        wide = torch.complex128 if matrices.is_complex() else torch.float64
        return torch.linalg.matrix_norm(matrices.to(wide), 2).amax()

    @torch.no_grad()
    def fold(self) -> None:
        """Scale the weights down to `cap` if they are beyond it."""
        self._shrink(self.bound())

    @torch.no_grad()
    def project(self, num_iterations: int = 1) -> None:
        """`fold` with the norm by power iteration, which goes on from call to call."""
        matrices = self.matrices().to(self._guess.dtype)
        v = self._guess[..., None]
        for _ in range(num_iterations):
            u = _unit(matrices @ v)
            v = matrices.mH @ u
            norm = torch.linalg.vector_norm(v, dim=-2, keepdim=True)
            v = _unit(v)
        self._guess.copy_(v[..., 0])
        self._shrink(norm.amax())

    def _shrink(self, norm: Tensor) -> None:
        factor = self.cap * (1 - _MARGIN) / norm
        if bool(factor < 1 - _MARGIN / 2):
            self.weight.mul_(factor.to(self.weight.dtype))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not mode:
            self.fold()
        return self


def _unit(v: Tensor) -> Tensor:
    """Shapes: (F, size, 1) -> (F, size, 1)."""
    return v / torch.linalg.vector_norm(v, dim=-2, keepdim=True).clamp(min=1e-12)


class SpectralLinear(Spectral):
    """Fully connected. Shapes: (B, num_in) -> (B, num_out)."""

    def __init__(self, num_in: int, num_out: int, cap: float) -> None:
        super().__init__(torch.randn(num_out, num_in) / math.sqrt(num_in), cap)

    def matrices(self) -> Tensor:
        return self.weight[None]

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class SpectralConv(Spectral):
    """Convolution with zeros around. Shapes: (B, num_in, *sides) -> (B, num_out, *sides).

    Padded with zeros an image is part of a torus on which the convolution is circular, so that the
    bound is the largest norm over the frequencies of that torus (Sedghi et al. 2019,
    arXiv:1805.10408). It is at least the norm, and near it for images much larger than a kernel.
    """

    def __init__(
        self, num_in: int, num_out: int, cap: float, *, sides: tuple[int, int], kernel: int
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel}: accepted are odd sizes")
        self.sides = sides
        self.padding = kernel // 2
        weight = torch.randn(num_out, num_in, kernel, kernel) / (kernel * math.sqrt(num_in))
        super().__init__(weight, cap)

    def matrices(self) -> Tensor:
        if self.padding == 0:
            return self.weight[None, :, :, 0, 0]
        height, width = (side + self.padding for side in self.sides)
        # The weights are real: conjugate frequencies have the same norm.
        down = _waves(height, height, 2 * self.padding + 1).to(self.weight)
        right = _waves(width, width // 2 + 1, 2 * self.padding + 1).to(self.weight)
        down, right = torch.view_as_complex(down), torch.view_as_complex(right)
        weight = self.weight.to(down.dtype)
        return torch.einsum("oipq,ap,bq->aboi", weight, down, right).flatten(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=self.padding)


def _waves(size: int, num: int, kernel: int) -> Tensor:
    """exp(-2 pi i f p / size) as real and imaginary parts. -> float64 (num, kernel, 2)."""
    place = torch.arange(kernel, dtype=torch.float64)
    angle = -2 * math.pi / size * torch.arange(num, dtype=torch.float64)[:, None] * place
    return torch.stack([angle.cos(), angle.sin()], -1)
