"""Invertible maps of integers to integers: rounding that learns, and additive couplings.

Hoogeboom et al. 2019, "Integer Discrete Flows and Lossless Compression", arXiv:1905.07376; the
couplings of several parts are Tomczak's, "General Invertible Transformations for Flow-based
Generative Modeling", 2021, arXiv:2011.15056. Integers are whole numbers in floating point, exact up
to 2^24 in float32. No map has a Jacobian: the mass of a point moves whole.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0]


_round: Callable[[Tensor], Tensor] = _Round.apply


def round_through(x: Tensor) -> Tensor:
    """The nearest integer, halves to even; the gradient passes straight through.

    Bengio et al. 2013, arXiv:1308.3432. x + (x.round() - x).detach() would not be whole in floating
    point. Shapes: (B, ...) -> (B, ...).
    """
    return _round(x)


class IntegerMap(nn.Module, ABC):
    """Integers <-> integers, one to one over all of Z^D. Rows are independent."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Shapes: whole numbers (B, C, H, W) -> the same."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """Shapes: as in `forward`."""


class IntegerChain(IntegerMap):
    """Maps one after the other, the first next to x."""

    def __init__(self, parts: Sequence[IntegerMap]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x

    def inverse(self, z: Tensor) -> Tensor:
        for part in reversed(self.parts):
            assert isinstance(part, IntegerMap)
            z = part.inverse(z)
        return z


class Permute(IntegerMap):
    """Channels in another, fixed order. Shapes: order int64 (C,)."""

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)

    def inverse(self, z: Tensor) -> Tensor:
        return z.index_select(1, self.back)


class IntegerCoupling(IntegerMap):
    """Each part of the channels in turn moves by what a network sees in all others.

    x_a + round t_a(x_b), then x_b + round t_b(y_a) for two parts; with four, t_a sees x_b, x_c and
    x_d, t_b sees y_a, x_c and x_d, and so on. A network sees `unit` levels as 1 and moves by
    `shift` levels when it says 1.
    """

    def __init__(
        self,
        num_channels: int,
        num_parts: int,
        network: Callable[[int, int], nn.Module],
        unit: float,
        shift: float,
    ) -> None:
        """`network(num_in, num_out)` maps (B, num_in, H, W) to (B, num_out, H, W).

        Raises ValueError if the channels do not fall into equal parts.
        """
        super().__init__()
        if num_parts < 2 or num_channels % num_parts:
            raise ValueError(f"{num_channels} channels do not fall into {num_parts} equal parts")
        self.num_parts = num_parts
        self.unit, self.shift = unit, shift
        size = num_channels // num_parts
        self.networks = nn.ModuleList(network(num_channels - size, size) for _ in range(num_parts))

    def forward(self, x: Tensor) -> Tensor:
        parts = list(x.chunk(self.num_parts, 1))
        for index in range(self.num_parts):
            parts[index] = parts[index] + self._shift(index, parts)
        return torch.cat(parts, 1)

    def inverse(self, z: Tensor) -> Tensor:
        parts = list(z.chunk(self.num_parts, 1))
        for index in reversed(range(self.num_parts)):
            parts[index] = parts[index] - self._shift(index, parts)
        return torch.cat(parts, 1)

    def _shift(self, index: int, parts: Sequence[Tensor]) -> Tensor:
        """What is added to a part, whole numbers, by the others as they are then."""
        others = torch.cat([*parts[:index], *parts[index + 1 :]], 1)
        return round_through(self.shift * self.networks[index](others / self.unit))
