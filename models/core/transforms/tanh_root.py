"""The equation a + k tanh(a) = s, to which planar and Sylvester blocks come down when inverted."""

import torch
from torch import Tensor

LEAST_STRETCH = 1e-3
"""The least value of 1 + k, the slope at 0: in float32 a flatter map has no inverse to speak of."""

_NUM_NEWTON = 9
"""Eight reach the precision of float64 for every s up to 300 and stretch up to 3000."""
_CUBE = 1 / 3


def tanh_root(s: Tensor, stretch: Tensor) -> Tensor:
    """a with a + k tanh(a) = s, k = stretch - 1, to the precision of the type.

    The left side is odd and increasing, and of a > 0 convex (k < 0) or concave: Newton's method
    from beyond the root, or from before it, never leaves its side. Gradients are exact, those of
    the last iteration. Shapes: s (...), stretch > 0 (...) -> (...).
    """
    with torch.no_grad():
        a = _beside_the_root(s.abs(), stretch) * s.sign()
        for _ in range(_NUM_NEWTON - 1):
            a = _newton(a, s, stretch)
    return _newton(a, s, stretch)


def tanh_slope(h: Tensor, stretch: Tensor) -> Tensor:
    """d (a + k tanh(a)) / da at h = tanh(a), as a sum of what cannot cancel. Shapes: (...)."""
    square = h.square()
    return square + (1 - square) * stretch


def _newton(a: Tensor, s: Tensor, stretch: Tensor) -> Tensor:
    h = a.tanh()
    return a - (a + (stretch - 1) * h - s) / tanh_slope(h, stretch)


def _beside_the_root(s: Tensor, stretch: Tensor) -> Tensor:
    """Beyond the root if k < 0, before it if k > 0, for s >= 0.

    tanh(a) is at most 1, at most a, and for a <= 1 at most a - a^3 / 5.
    """
    k = stretch - 1
    by_one, by_a = s - k, s / stretch
    cube = (5 * s / k.abs().clamp(min=1e-6)) ** _CUBE
    beyond = torch.minimum(by_one, by_a)
    beyond = torch.where(cube <= 1, torch.minimum(beyond, cube), beyond)
    return torch.where(k < 0, beyond, torch.maximum(by_one, by_a))
