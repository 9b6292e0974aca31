"""A network's twin in fixed-point arithmetic: the same numbers in any batch and by any kernel."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from models.core.coding.fixed_point import FRACTION_BITS, REACH, silu, tanh, to_fixed_point
from models.core.pixelcnn.net import Gate

_WEIGHT_BITS, _LEAST_BITS = 20, 8

M = TypeVar("M", bound=nn.Module)


class ExactLinear(nn.Module):
    """A linear map of activations in fixed point, the same bits in any batch and by any kernel.

    Weights are rounded to multiples of 2^-20, or more coarsely where the bound asks for it:
    sum |w| * REACH is below 2^53 units. Raises ValueError if that leaves fewer than 8 bits.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """Shapes: weight (O, I), bias (O,)."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        weight = weight.detach().double()
        start = weight.new_zeros(len(weight)) if bias is None else bias.detach().double()
        # One unit of every term for what rounding the weights themselves may add.
        terms = weight.abs().sum(1) * REACH + start.abs() + weight.shape[1] + 1
        largest = float(terms.max()) if len(weight) else 1.0
        if not math.isfinite(largest):
            raise ValueError("weights that are not finite have no exact arithmetic")
        bits = min(_WEIGHT_BITS, 53 - FRACTION_BITS - math.frexp(largest)[1])
        if bits < _LEAST_BITS:
            raise ValueError(f"weights that sum to {largest / REACH:.3g} are too large to be exact")
        unit = 2.0**-bits
        self.register_buffer("weight", (weight / unit).round() * unit)
        self.register_buffer("bias", (start / unit).round() * unit)

    def forward(self, x: Tensor) -> Tensor:
        """The map in fixed point, into which inputs are put first. Shapes: (..., I) -> (..., O)."""
        return self.some(to_fixed_point(x).clamp_(-REACH, REACH))

    def some(self, x: Tensor, units: Tensor | slice = slice(None)) -> Tensor:
        """Some outputs, of inputs that are in fixed point within REACH. Shapes: as in `forward`."""
        return to_fixed_point(linear(x, self.weight[units], self.bias[units]))


class ExactConv2d(nn.Module):
    """A convolution as one `ExactLinear` product of matrices: FFT and Winograd kernels round."""

    def __init__(self, layer: nn.Conv2d) -> None:
        """Raises ValueError for strides, groups and padding by name, which nothing here uses."""
        super().__init__()
        if layer.groups > 1 or set(layer.stride) != {1} or isinstance(layer.padding, str):
            raise ValueError("accepted are convolutions of stride 1, in one group, padded by 0")
        self.kernel_size, self.dilation = layer.kernel_size, layer.dilation
        self.padding = layer.padding
        # From (O, C, kh, kw) to (O, kh kw C): the taps behind one another, channels inside.
        weight = layer.weight.movedim(1, -1).flatten(1)
        self.taps = ExactLinear(weight, layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (B, C, H, W) -> (B, O, H', W')."""
        x = pad(x.movedim(1, -1), (0, 0, *2 * self.padding[1:], *2 * self.padding[:1]))
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        height, width = x.shape[1] - reach[0], x.shape[2] - reach[1]
        taps = [
            x[:, i : i + height, j : j + width]
            for i in range(0, reach[0] + 1, self.dilation[0])
            for j in range(0, reach[1] + 1, self.dilation[1])
        ]
        return self.taps(torch.cat(taps, -1)).movedim(-1, 1)


class ExactSiLU(nn.Module):
    """x sigmoid(x) by the table."""

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: (...) in fixed point -> (...)."""
        return silu(x)


class ExactGate(nn.Module):
    """tanh(f) (1 + tanh(g)) by the table."""

    def forward(self, a: Tensor) -> Tensor:
        """Shapes: (..., 2 C) in fixed point -> (..., C)."""
        f, g = tanh(a).chunk(2, -1)
        return to_fixed_point(f + f * g)


_TWINS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Linear: lambda layer: ExactLinear(layer.weight, layer.bias),
    nn.Conv2d: ExactConv2d,
    nn.SiLU: lambda _: ExactSiLU(),
    Gate: lambda _: ExactGate(),
}
"""Twins by the type of the module; the other types, sums and ReLU, are exact as they are."""


def exact(network: M) -> M:
    """A copy in which all layers are exact.

    What it is besides layers must be correctly rounded, number by number: sums, products, clamps.
    Raises ValueError for weights that are too large.
    """
    twin = copy.deepcopy(network).double().eval().requires_grad_(False)
    for tensor in _other_numbers(twin):
        tensor.copy_(to_fixed_point(tensor))
    _replace(twin)
    return twin


def _other_numbers(module: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers outside the layers that have twins."""
    if type(module) in _TWINS:
        return
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if tensor.is_floating_point():
            yield tensor.data
    for child in module.children():
        yield from _other_numbers(child)


def _replace(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) in _TWINS:
            setattr(module, name, _TWINS[type(child)](child))
        else:
            _replace(child)
