"""Sylvester flows: planar flows with many units, whose Jacobian is triangular between them.

Van den Berg et al. 2018, "Sylvester normalizing flows for variational inference",
arXiv:1803.05649: z' = z + Q R tanh(R~ Q^T z + b), the variant with Q from Householder reflections.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from models.core.transforms.planar import NO_STRETCH, stretch
from models.core.transforms.tanh_root import LEAST_STRETCH, tanh_root, tanh_slope
from models.core.transforms.transform import Transform


class _Block(NamedTuple):
    """z + outward tanh(inward z + b) of M units, `product` = inward outward a triangle."""

    inward: Tensor
    outward: Tensor
    product: Tensor
    along: Tensor
    """The diagonal of I + product. (..., M)."""
    b: Tensor

    def moved(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The image of z and the determinant's factors. Shapes: (B, D) -> (B, D), (B, M)."""
        h = (_times(self.inward, z) + self.b).tanh()
        return z + _times(self.outward, h), tanh_slope(h, self.along)

    def moved_back(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z of an image, and the factors there: from the last unit to the first, each an equation
        in one unknown. With a = R~ Q^T z + b the image has R~ Q^T f(z) + b = a + R~ R tanh(a)."""
        s = _times(self.inward, z) + self.b
        tanh_a: list[Tensor] = []  # tanh(a) of the last units, the last unit last
        for unit in reversed(range(s.shape[-1])):
            rest = s[..., unit]
            if tanh_a:
                after = self.product[..., unit, unit + 1 :]
                rest = rest - (after * torch.stack(tanh_a, -1)).sum(-1)
            tanh_a.insert(0, tanh_root(rest, self.along[..., unit]).tanh())
        h = torch.stack(tanh_a, -1)
        return z - _times(self.outward, h), tanh_slope(h, self.along)


def _block(q: Tensor, r: Tensor, r_tilde: Tensor, b: Tensor) -> _Block:
    product = r_tilde @ r
    along = (1 + product.diagonal(dim1=-2, dim2=-1)).clamp(min=LEAST_STRETCH)
    return _Block(r_tilde @ q.mT, q @ r, product, along, b)


def sylvester(z: Tensor, q: Tensor, r: Tensor, r_tilde: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """z + Q R tanh(R~ Q^T z + b), and its log abs det.

    R and R~ are upper triangles from `triangles`, Q has orthonormal columns, as from
    `householder`. By Sylvester's identity the determinant is that of I + diag(h') R~ R, the
    product of its diagonal. Parameters are shared by all rows or a row each.
    Shapes: z (B, D), q (D, M) or (B, D, M), r and r_tilde (M, M) or (B, M, M), b (M,) or (B, M)
    -> (B, D), (B,) nats.
    """
    z, slope = _block(q, r, r_tilde, b).moved(z)
    return z, slope.log().sum(-1)


def triangles(raw_r: Tensor, raw_r_tilde: Tensor) -> tuple[Tensor, Tensor]:
    """R and R~ of any numbers, such that every map by them is one to one.

    R~ has a positive diagonal, which takes nothing away since tanh is odd, and 1 + r_ii r~_ii is
    the stretch of r's number, so that r_ii r~_ii > -1, as the paper asks; zeros stretch nothing.
    Shapes: (..., M, M) x 2 -> (..., M, M) x 2.
    """
    gain = softplus(raw_r_tilde.diagonal(dim1=-2, dim2=-1) + NO_STRETCH) + LEAST_STRETCH
    product = stretch(raw_r.diagonal(dim1=-2, dim2=-1) + NO_STRETCH) - 1
    r = raw_r.triu(1) + torch.diag_embed(product / gain)
    return r, raw_r_tilde.triu(1) + torch.diag_embed(gain)


def householder(vectors: Tensor, num_columns: int) -> Tensor:
    """The first columns of a product of reflections I - 2 v v^T / |v|^2.

    Shapes: (..., H, D) -> (..., D, num_columns), orthonormal.
    """
    size = vectors.shape[-1]
    eye = torch.eye(size, dtype=vectors.dtype, device=vectors.device)[:, :num_columns]
    q = eye.expand(*vectors.shape[:-2], size, num_columns)
    for v in normalize(vectors, dim=-1).unbind(-2):
        q = q - 2 * v.unsqueeze(-1) * (v.unsqueeze(-2) @ q)
    return q


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Shapes: (N, K) or (B, N, K), (B, K) -> (B, N)."""
    if matrix.ndim == 2:
        return x @ matrix.mT
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


class Sylvester(Transform):
    """Sylvester maps one after the other; forward is the direction that costs no equation.

    Their weights lie in one tensor of each sort, so that all matrices are made at once.
    """

    def __init__(
        self, size: int, num_units: int, num_reflections: int, num_blocks: int = 1
    ) -> None:
        """Raises ValueError if there are more units than dimensions, or no reflection."""
        super().__init__()
        if not 1 <= num_units <= size:
            raise ValueError(f"num_units {num_units}: accepted are 1 up to {size}, the dimensions")
        if num_reflections < 1:
            raise ValueError(f"num_reflections {num_reflections}: accepted are 1 and more")
        triangle = (num_blocks, num_units, num_units)
        self.vectors = nn.Parameter(torch.randn(num_blocks, num_reflections, size))
        self.raw_r = nn.Parameter(0.1 * torch.randn(triangle))
        self.raw_r_tilde = nn.Parameter(0.1 * torch.randn(triangle))
        self.b = nn.Parameter(torch.randn(num_blocks, num_units))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for block in self._blocks():
            x, slope = block.moved(x)
            slopes.append(slope)
        return x, torch.stack(slopes, 1).log().flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for block in reversed(self._blocks()):
            z, slope = block.moved_back(z)
            slopes.append(slope)
        return z, -torch.stack(slopes, 1).log().flatten(1).sum(1)

    def _blocks(self) -> list[_Block]:
        q = householder(self.vectors, self.raw_r.shape[-1])
        blocks = _block(q, *triangles(self.raw_r, self.raw_r_tilde), self.b)
        return [_Block(*parts) for parts in zip(*(t.unbind() for t in blocks), strict=True)]
