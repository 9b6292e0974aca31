"""Sylvester flows: planar flows with many units, whose Jacobian is triangular between them.

Van den Berg et al. 2018, "Sylvester normalizing flows for variational inference",
arXiv:1803.05649: z' = z + Q R tanh(R~ Q^T z + b), the variant with Q from Householder reflections.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from models.core.planar import NO_STRETCH, stretch
from models.core.tanh_root import LEAST_STRETCH, tanh_root, tanh_slope
from models.core.transforms import Transform


def sylvester(z: Tensor, q: Tensor, r: Tensor, r_tilde: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """z + Q R tanh(R~ Q^T z + b), and its log abs det.

    R and R~ are upper triangles from `triangles`, Q has orthonormal columns, as from
    `householder`. By Sylvester's identity the determinant is that of I + diag(h') R~ R, the
    product of its diagonal. Parameters are shared by all rows or a row each.
    Shapes: z (B, D), q (D, M) or (B, D, M), r and r_tilde (M, M) or (B, M, M), b (M,) or (B, M)
    -> (B, D), (B,) nats.
    """
    h = (_times(r_tilde @ q.mT, z) + b).tanh()
    slope = tanh_slope(h, _stretches(r, r_tilde))
    return z + _times(q @ r, h), slope.log().sum(-1)


def sylvester_inverse(
    z: Tensor, q: Tensor, r: Tensor, r_tilde: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """The z whose `sylvester` is given, and the log abs det of this direction.

    With a = R~ Q^T z + b the image has R~ Q^T f(z) + b = a + R~ R tanh(a): from the last unit to
    the first, each an equation in one unknown. Shapes as in `sylvester`.
    """
    s = _times(r_tilde @ q.mT, z) + b
    product = r_tilde @ r
    along = _stretches(r, r_tilde)
    found: list[Tensor] = []  # tanh(a) of the last units, the last unit last
    for unit in reversed(range(s.shape[-1])):
        rest = s[..., unit]
        if found:
            rest = rest - (product[..., unit, unit + 1 :] * torch.stack(found, -1)).sum(-1)
        found.insert(0, tanh_root(rest, along[..., unit]).tanh())
    h = torch.stack(found, -1)
    return z - _times(q @ r, h), -tanh_slope(h, along).log().sum(-1)


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


def _stretches(r: Tensor, r_tilde: Tensor) -> Tensor:
    """1 + r_ii r~_ii. -> (..., M)."""
    product = r.diagonal(dim1=-2, dim2=-1) * r_tilde.diagonal(dim1=-2, dim2=-1)
    return (1 + product).clamp(min=LEAST_STRETCH)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Shapes: (N, K) or (B, N, K), (B, K) -> (B, N)."""
    if matrix.ndim == 2:
        return x @ matrix.mT
    return (matrix @ x.unsqueeze(-1)).squeeze(-1)


class Sylvester(Transform):
    """A Sylvester map with weights of its own; forward is the one that costs no equation."""

    def __init__(self, size: int, num_units: int, num_reflections: int) -> None:
        """Raises ValueError if there are more units than dimensions, or no reflection."""
        super().__init__()
        if not 1 <= num_units <= size:
            raise ValueError(f"num_units {num_units}: accepted are 1 up to {size}, the dimensions")
        if num_reflections < 1:
            raise ValueError(f"num_reflections {num_reflections}: accepted are 1 and more")
        self.vectors = nn.Parameter(torch.randn(num_reflections, size))
        self.raw_r = nn.Parameter(0.1 * torch.randn(num_units, num_units))
        self.raw_r_tilde = nn.Parameter(0.1 * torch.randn(num_units, num_units))
        self.b = nn.Parameter(torch.randn(num_units))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return sylvester(x, *self._matrices(), self.b)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return sylvester_inverse(z, *self._matrices(), self.b)

    def _matrices(self) -> tuple[Tensor, Tensor, Tensor]:
        q = householder(self.vectors, self.raw_r.shape[0])
        return (q, *triangles(self.raw_r, self.raw_r_tilde))
