"""The exponential of a convolution, and the generalised Sylvester flow in its basis.

Hoogeboom et al. 2020, "The convolution exponential and generalized Sylvester flows",
arXiv:2006.01910.
"""

import math

import torch
from torch import Tensor, nn

from models.core.transforms.transform import Transform


class ConvolutionExponential(Transform):
    """z = exp(M) x with M a convolution of zero padding: its inverse is exp(-M), its log abs det
    the trace of M, a sum over the kernel's centre.

    The series stops after `num_terms` powers of M. Of the image's length it leaves out at most
    `remainder(max_norm, num_terms)`, since the kernel is scaled until its bound on the norm of M
    is no more than `max_norm`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        side: int = 3,
        max_norm: float = 1.5,
        num_terms: int = 12,
    ) -> None:
        """`shape` is (C, H, W). Starts near the identity. Raises ValueError for an even side."""
        super().__init__()
        if side % 2 == 0 or side < 1:
            raise ValueError(f"side {side}: accepted are odd numbers")
        num_channels, height, width = shape
        self.num_positions = height * width
        self.max_norm, self.num_terms = max_norm, num_terms
        scale = 0.1 / (side * side * num_channels)
        self.kernel = nn.Parameter(scale * torch.randn(num_channels, num_channels, side, side))

    def bounded(self) -> Tensor:
        """The kernel of M. -> (C, C, side, side)."""
        return self.kernel * (self.max_norm / norm_bound(self.kernel)).clamp(max=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kernel = self.bounded()
        return self._series(x, kernel), self._trace(kernel).expand(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        kernel = self.bounded()
        return self._series(z, -kernel), -self._trace(kernel).expand(z.shape[0])

    def _series(self, x: Tensor, kernel: Tensor) -> Tensor:
        power = total = x
        for k in range(1, self.num_terms + 1):
            power = nn.functional.conv2d(power, kernel, padding=kernel.shape[-1] // 2) / k
            total = total + power
        return total

    def _trace(self, kernel: Tensor) -> Tensor:
        centre = kernel.shape[-1] // 2
        return self.num_positions * kernel[:, :, centre, centre].diagonal().sum()


def norm_bound(kernel: Tensor) -> Tensor:
    """A bound on the convolution's spectral norm: |M|^2 <= |M|_1 |M|_inf, sums of a column and of
    a row. Shapes: (C, C, side, side) -> ()."""
    size = kernel.abs().sum((2, 3))
    return (size.sum(0).amax(0) * size.sum(1).amax(0)).sqrt()


def remainder(norm: float, num_terms: int) -> float:
    """Bound on |exp(M) x - its series| / |x| for |M| <= norm < num_terms + 2: the first term that
    is left out, and a geometric series."""
    first = norm ** (num_terms + 1) / math.factorial(num_terms + 1)
    return first / (1 - norm / (num_terms + 2))


class GeneralisedSylvester(Transform):
    """z = x + W^-1 f(W x), where f is what `inner` adds to its input, in the basis of W.

    x + W^-1 f(W x) = W^-1 inner(W x), so that the two determinants of W cancel.
    """

    def __init__(self, basis: Transform, inner: Transform) -> None:
        """`basis` is W, a linear map; f has to be autoregressive, such as a coupling."""
        super().__init__()
        self.basis = basis
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, log_abs_det = self.inner(self.basis(x)[0])
        return self.basis.inverse(h)[0], log_abs_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h, log_abs_det = self.inner.inverse(self.basis(z)[0])
        return self.basis.inverse(h)[0], log_abs_det
