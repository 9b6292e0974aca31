"""Linear maps whose determinant costs O(D): W is kept as its PLU or its QR decomposition.

PLU: Kingma and Dhariwal 2018, "Glow", arXiv:1807.03039, section 3.2. Householder reflections:
Tomczak and Welling 2016, arXiv:1611.09630. Inverses are matrix products only, since neither
triangular solves nor inverses can be exported.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from models.core.transforms.transform import Transform

LinearName = Literal["plu", "qr"]


class Linear(Transform, ABC):
    """z = W x + bias, over the entries of a vector or, as a 1x1 convolution, over channels."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape` is (D,) or (C, H, W)."""
        super().__init__()
        self.size, *sides = shape
        self.num_positions = torch.Size(sides).numel()
        self.bias = nn.Parameter(torch.zeros(self.size, *(1 for _ in sides)))
        self.log_diagonal = nn.Parameter(torch.zeros(self.size))

    @abstractmethod
    def weight(self) -> Tensor:
        """W as a dense matrix. -> (D, D)."""

    @abstractmethod
    def inverse_weight(self) -> Tensor:
        """The inverse of W. -> (D, D)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _apply(self.weight, x) + self.bias, self._log_abs_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return _apply(self.inverse_weight, z - self.bias), -self._log_abs_det(z)

    def _log_abs_det(self, x: Tensor) -> Tensor:
        """The triangular factor's diagonal is all there is: the others have determinant 1 or -1."""
        return (self.num_positions * self.log_diagonal.sum()).expand(x.shape[0])


class PLU(Linear):
    """W = P L U: a fixed permutation, a unit lower and an upper triangle with positive diagonal.

    L and U lie in one matrix, below and above its diagonal. Starts as a random orthogonal matrix.
    """

    rows: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        permutation, lower, upper = torch.linalg.lu(_random_orthogonal(self.size))
        # Columns of W may change their sign, and with them those of U: W stays orthogonal.
        upper = upper * upper.diagonal().sign()
        self.register_buffer("rows", permutation.argmax(1))
        self.triangles = nn.Parameter((lower.tril(-1) + upper.triu(1)).float())
        self.log_diagonal.data.copy_(upper.diagonal().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        """L and diag(U)^-1 U, both with ones on the diagonal."""
        ones = torch.eye(self.size, dtype=self.triangles.dtype, device=self.triangles.device)
        scaled = self.triangles.triu(1) * (-self.log_diagonal).exp()[:, None]
        return self.triangles.tril(-1) + ones, scaled + ones

    def weight(self) -> Tensor:
        lower, upper = self._factors()
        return (lower @ (self.log_diagonal.exp()[:, None] * upper)).index_select(0, self.rows)

    def inverse_weight(self) -> Tensor:
        lower, upper = self._factors()
        inverse_upper = unit_lower_inverse(upper.T).T * (-self.log_diagonal).exp()
        return (inverse_upper @ unit_lower_inverse(lower)).index_select(1, self.rows)


class QR(Linear):
    """W = Q R: D Householder reflections and an upper triangle with positive diagonal.

    The product of the reflections is formed at once, as I - V^T T V with T triangular (Schreiber
    and Van Loan 1989). Starts as a random orthogonal matrix.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.vectors = nn.Parameter(torch.randn(self.size, self.size))
        self.upper = nn.Parameter(torch.zeros(self.size, self.size))

    def orthogonal(self) -> Tensor:
        """Q = H_1 ... H_D with H_i = I - 2 v_i v_i^T of unit vectors v_i. -> (D, D)."""
        v = nn.functional.normalize(self.vectors, dim=1)
        ones = torch.eye(self.size, dtype=v.dtype, device=v.device)
        # T^-1 is the upper triangle of V V^T with half of its diagonal, which is 1.
        triangle = unit_lower_inverse(2 * (v @ v.T).tril(-1) + ones).T * 2
        return ones - v.T @ triangle @ v

    def weight(self) -> Tensor:
        return self.orthogonal() @ (self.upper.triu(1) + self.log_diagonal.exp().diag())

    def inverse_weight(self) -> Tensor:
        shrink = (-self.log_diagonal).exp()
        ones = torch.eye(self.size, dtype=shrink.dtype, device=shrink.device)
        upper = ones + shrink[:, None] * self.upper.triu(1)
        return (unit_lower_inverse(upper.T).T * shrink) @ self.orthogonal().T


def linear(name: LinearName, shape: tuple[int, ...]) -> Linear:
    """The linear map of this name. Raises ValueError for an unknown one."""
    if name == "plu":
        return PLU(shape)
    if name == "qr":
        return QR(shape)
    raise ValueError(f"linear {name!r}: accepted are 'plu' and 'qr'")


def unit_lower_inverse(lower: Tensor) -> Tensor:
    """The inverse of a lower triangle with ones on the diagonal. Shapes: (D, D) -> (D, D).

    Blocks of 1, 2, 4, ... along the diagonal are inverted in turn: [[A, 0], [C, B]] has the
    inverse [[A^-1, 0], [-B^-1 C A^-1, B^-1]].
    """
    size = lower.shape[0]
    num_doublings = max(size - 1, 0).bit_length()
    full = 1 << num_doublings
    padded = nn.functional.pad(lower, (0, full - size, 0, full - size))
    inverse = padded.new_ones(full, 1, 1)
    for _ in range(num_doublings):
        width = inverse.shape[-1]
        num = full // (2 * width)
        blocks = padded.view(num, 2 * width, num, 2 * width).diagonal(dim1=0, dim2=2)
        below = blocks.permute(2, 0, 1)[:, width:, :width]
        a, b = inverse.unflatten(0, (num, 2)).unbind(1)
        top = nn.functional.pad(a, (0, width))
        bottom = torch.cat([-b @ below @ a, b], 2)
        inverse = torch.cat([top, bottom], 1)
    return inverse[0, :size, :size]


def _random_orthogonal(size: int) -> Tensor:
    """A random orthogonal matrix in double precision. -> (D, D)."""
    return torch.linalg.qr(torch.randn(size, size, dtype=torch.float64))[0]


def _apply(matrix: Callable[[], Tensor], x: Tensor) -> Tensor:
    """matrix() times x over dimension 1, never in half precision. Shapes: as those of x."""
    with torch.autocast(x.device.type, enabled=False):
        if x.ndim == 2:
            return x @ matrix().T
        return nn.functional.conv2d(x, matrix()[:, :, None, None])
