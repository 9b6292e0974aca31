"""Networks of known Lipschitz constant: LipSwish, plain layers and dense connections.

Chen et al. 2019, "Residual Flows for Invertible Generative Modeling", arXiv:1906.02735, section 3.4
(LipSwish); Perugachi-Diaz et al. 2021, "Invertible DenseNets with Concatenated LipSwish",
arXiv:2102.02694.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.core.nn.lipschitz import Spectral

ActivationName = Literal["lipswish", "clipswish"]
_STEEPEST = 1.0998394
"""The largest slope s of x sigmoid(x), rounded up; the slope at -x is then 1 - s."""
_STEEPEST_PAIR = 1.1043616
"""The largest sqrt(s^2 + (1 - s)^2)."""


class LipSwish(nn.Module):
    """x sigmoid(beta x) / 1.1 with a learned beta > 0: no slope beyond 1 in absolute value."""

    def __init__(self) -> None:
        super().__init__()
        self.raw_beta = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (...) -> (...)."""
        return x * (softplus(self.raw_beta) * x).sigmoid() / _STEEPEST


class ConcatenatedLipSwish(LipSwish):
    """LipSwish of x and of -x, as twice the channels: what one half loses the other keeps."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, ...) -> (B, 2C, ...), of Lipschitz constant 1."""
        gate = (softplus(self.raw_beta) * x).sigmoid()
        return torch.cat([x * gate, x * (gate - 1)], 1) / _STEEPEST_PAIR


def activation(name: ActivationName) -> tuple[nn.Module, int]:
    """The activation, and how many channels it makes of one. Raises ValueError for other names."""
    if name == "lipswish":
        return LipSwish(), 1
    if name != "clipswish":
        raise ValueError(f"activation {name!r}: accepted are lipswish, clipswish")
    return ConcatenatedLipSwish(), 2


class DenseLayer(nn.Module):
    """h to (eta_1 h, eta_2 phi(W h)) with learned eta_1^2 + eta_2^2 = 1, of constant at most 1.

    Perugachi-Diaz et al. 2021, section 3.2 (learnable weighted concatenation).
    """

    def __init__(self, wide: Spectral, phi: nn.Module) -> None:
        super().__init__()
        self.wide = wide
        self.phi = phi
        self.angle = nn.Parameter(torch.tensor(math.pi / 4))

    def forward(self, h: Tensor) -> Tensor:
        """Shapes: (B, C, ...) -> (B, C + growth, ...)."""
        return torch.cat([self.angle.cos() * h, self.angle.sin() * self.phi(self.wide(h))], 1)

    def bound(self) -> Tensor:
        """A bound on the Lipschitz constant, at the weights as they are. -> ()."""
        squares = self.angle.cos().square(), (self.angle.sin() * self.wide.bound()).square()
        return (squares[0] + squares[1]).sqrt()


class PlainLayer(nn.Module):
    """h to phi(W h), of constant at most 1."""

    def __init__(self, wide: Spectral, phi: nn.Module) -> None:
        super().__init__()
        self.wide = wide
        self.phi = phi

    def forward(self, h: Tensor) -> Tensor:
        """Shapes: (B, C, ...) -> (B, growth, ...)."""
        out: Tensor = self.phi(self.wide(h))
        return out

    def bound(self) -> Tensor:
        """A bound on the Lipschitz constant, at the weights as they are. -> ()."""
        return self.wide.bound()


class LipschitzNet(nn.Module):
    """`depth` layers and a last linear map, (B, C, ...) -> (B, C, ...), of constant at most `cap`.

    With `dense` every layer sees all before it, as in an i-DenseNet block.
    """

    def __init__(
        self,
        num_channels: int,
        *,
        width: int,
        depth: int,
        dense: bool,
        activation_name: ActivationName,
        cap: float,
        wide: Callable[[int, int, float], Spectral],
        narrow: Callable[[int, int, float], Spectral],
    ) -> None:
        """`wide` and `narrow` make a layer of (num_in, num_out, cap): of the layers and the last.

        Raises ValueError for a depth below 1, or a cap that is not between 0 and 1.
        """
        super().__init__()
        self.cap = cap
        if depth < 1 or width < 1:
            raise ValueError(f"depth {depth}, width {width}: accepted are 1 and more")
        if not 0 < cap < 1:
            raise ValueError(f"lipschitz {cap}: accepted are numbers between 0 and 1")
        layers: list[DenseLayer | PlainLayer] = []
        num_in = num_channels
        for _ in range(depth):
            phi, times = activation(activation_name)
            layer = (DenseLayer if dense else PlainLayer)(wide(num_in, width, 1.0), phi)
            num_in = width * times + (num_in if dense else 0)
            layers.append(layer)
        self.layers = nn.Sequential(*layers)
        self.last = narrow(num_in, num_channels, cap)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.layers(x))
        return out

    def bound(self) -> Tensor:
        """A bound on the Lipschitz constant, at the weights as they are. -> ()."""
        bound = self.last.bound()
        for layer in self.layers:
            assert isinstance(layer, DenseLayer | PlainLayer)
            bound = bound * layer.bound()
        return bound
