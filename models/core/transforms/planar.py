"""Planar flows: z moves along one direction, by a function of where it lies along another.

Rezende and Mohamed 2015, "Variational inference with normalizing flows", arXiv:1505.05770,
section 4.1 and appendix A.1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.core.transforms.tanh_root import LEAST_STRETCH, tanh_root, tanh_slope
from models.core.transforms.transform import Transform

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
    z, slope = _moved(z, u, w, b, along)
    return z, slope.log()


def _constrained(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """u^ and 1 + w.u^. Shapes: (..., D) x 2 -> (..., D), (...)."""
    product, square = (w * u).sum(-1), w.square().sum(-1)
    # Of length 0 w is no direction, and f a shift.
    some = square > _NO_DIRECTION
    along = torch.where(some, stretch(product), 1 + product)
    scale = (along - 1 - product) / square.clamp(min=_NO_DIRECTION)
    return u + scale.unsqueeze(-1) * w, along


def _moved(z: Tensor, u: Tensor, w: Tensor, b: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """f(z) and its determinant, by what `_constrained` gives."""
    h = ((w * z).sum(-1) + b).tanh()
    return z + u * h.unsqueeze(-1), tanh_slope(h, along)


def _moved_back(z: Tensor, u: Tensor, w: Tensor, b: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
    """z of f(z), and the determinant of f there.

    Along w it is an equation in one unknown: w.f(z) + b = a + w.u^ tanh(a) with a = w.z + b.
    """
    h = tanh_root((w * z).sum(-1) + b, along).tanh()
    return z - u * h.unsqueeze(-1), tanh_slope(h, along)


class Planar(Transform):
    """Planar maps one after the other; forward is the direction that costs no equation.

    Their weights lie in one tensor of each sort, so that all constraints are found at once.
    """

    def __init__(self, size: int, num_blocks: int = 1) -> None:
        """Starts with every w in a random direction and next to no effect."""
        super().__init__()
        w = torch.randn(num_blocks, size)
        start = NO_STRETCH * w / w.square().sum(1, keepdim=True)
        self.w = nn.Parameter(w)
        self.u = nn.Parameter(start + 0.1 * torch.randn(num_blocks, size))
        self.b = nn.Parameter(torch.randn(num_blocks))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for block in self._blocks():
            x, slope = _moved(x, *block)
            slopes.append(slope)
        return x, torch.stack(slopes).log().sum(0)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for block in reversed(self._blocks()):
            z, slope = _moved_back(z, *block)
            slopes.append(slope)
        return z, -torch.stack(slopes).log().sum(0)

    def _blocks(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        u, along = _constrained(self.u, self.w)
        return list(zip(u.unbind(), self.w.unbind(), self.b.unbind(), along.unbind(), strict=True))
