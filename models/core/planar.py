"""Planar flows: z moves along one direction, by a function of where it lies along another.

Rezende and Mohamed 2015, "Variational inference with normalizing flows", arXiv:1505.05770,
section 4.1 and appendix A.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.core.tanh_root import LEAST_STRETCH, tanh_root, tanh_slope
from models.core.transforms import Transform

NO_STRETCH = math.log(math.e - 1)
"""Where `stretch` is 1, so that m = 0."""
_NO_DIRECTION = 1e-12


def stretch(raw: Tensor) -> Tensor:
    """1 + m(raw) with m(x) = -1 + log(1 + e^x) > -1 (appendix A.1). Shapes: (...) -> (...).

    Kept at a least value, or a row between two halves of space could not be told from its image.
    """
    return softplus(raw).clamp(min=LEAST_STRETCH)


def planar(z: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) = z + u^ tanh(w.z + b) and log abs det df/dz (equations 10 to 12).

    u^ is u, moved along w until 1 + w.u^ is the stretch of w.u: then f is one to one. Parameters
    are shared by all rows or a row each, as an encoder gives them.
    Shapes: z (B, D), u and w (D,) or (B, D), b () or (B,) -> (B, D), (B,) nats.
    """
    u, along = _constrained(u, w)
    h = ((w * z).sum(-1) + b).tanh()
    return z + u * h.unsqueeze(-1), tanh_slope(h, along).log()


def planar_inverse(z: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The z whose `planar` is given, and the log abs det of this direction.

    Along w it is an equation in one unknown: w.f(z) + b = a + w.u^ tanh(a) with a = w.z + b.
    Shapes as in `planar`.
    """
    u, along = _constrained(u, w)
    h = tanh_root((w * z).sum(-1) + b, along).tanh()
    return z - u * h.unsqueeze(-1), -tanh_slope(h, along).log()


def _constrained(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """u^ and 1 + w.u^. Shapes: (..., D) x 2 -> (..., D), (...)."""
    product, square = (w * u).sum(-1), w.square().sum(-1)
    # Of length 0 w is no direction, and f a shift.
    some = square > _NO_DIRECTION
    along = torch.where(some, stretch(product), 1 + product)
    scale = (along - 1 - product) / square.clamp(min=_NO_DIRECTION)
    return u + scale.unsqueeze(-1) * w, along


class Planar(Transform):
    """A planar map with weights of its own; forward is the one that costs no equation."""

    def __init__(self, size: int) -> None:
        """Starts with w in a random direction and next to no effect."""
        super().__init__()
        w = torch.randn(size)
        self.w = nn.Parameter(w)
        self.u = nn.Parameter(NO_STRETCH * w / w.square().sum() + 0.1 * torch.randn(size))
        self.b = nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return planar(x, self.u, self.w, self.b)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return planar_inverse(z, self.u, self.w, self.b)
