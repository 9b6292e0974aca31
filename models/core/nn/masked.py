"""A masked multilayer perceptron: the numbers for a dimension depend on the ones before it only.

Germain et al. 2015, "MADE: masked autoencoder for distribution estimation", arXiv:1502.03509.
Every unit has a degree, 1 to D; a hidden unit sees units of its degree or less (equation 8), and
the numbers for a dimension see units of less than its place in the order (equation 9).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode
from torch.nn.functional import dropout, linear, relu, silu

from models.core.contract.noise import uniform

Wiring = tuple[Tensor, ...]
"""Degrees: of the D dimensions, 1 for the first in the order, then of each hidden layer's units."""

ActivationName = Literal["relu", "silu"]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "silu": silu}

_OUTPUT, _DIRECT = -1, -2
"""What is masked beside the hidden layers 0, 1, ..."""


def permutation(size: int, seed: int, index: int, stream: int = 0) -> Tensor:
    """A permutation that never changes: a bundle keeps only its seed. -> int64 (size,)."""
    u = uniform(torch.tensor([seed]), torch.tensor([index]), (size,), stream)[0]
    return u.argsort(stable=True)


def even_degrees(num_units: int, num_dims: int) -> Tensor:
    """Degrees over 1 .. D - 1, so that every place in the order has its units. -> (num_units,)."""
    return torch.arange(num_units) * max(num_dims - 1, 1) // num_units + 1


def wiring(
    order: Tensor, hidden: Sequence[int], *, seed: int = 0, index: int = 0, same: bool = False
) -> Wiring:
    """Degrees for an order of the dimensions, hidden units at random unless `index` is 0.

    `order` (D,) lists the dimensions from first to last. `same` gives all hidden layers the same
    degrees, which residual connections need.
    """
    layers = [order.argsort() + 1]
    for layer, num_units in enumerate(hidden):
        degrees = even_degrees(num_units, len(order))
        if index:
            degrees = degrees[permutation(num_units, seed, index, 1 if same else layer + 1)]
        layers.append(degrees)
    return tuple(layers)


class MaskedMLP(nn.Module):
    """`num_params` numbers for each of D dimensions, from `num_features` numbers for each.

    One set of weights, and a mask for each of several wirings. Masks are found from the degrees
    when they are first needed, and not stored with the weights. Raises ValueError if the widths do
    not fit.
    """

    def __init__(
        self,
        wirings: Sequence[Wiring],
        num_features: int,
        num_params: int,
        *,
        activation: ActivationName = "relu",
        residual: bool = False,
        direct: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        num_dims, *hidden = (len(degrees) for degrees in wirings[0])
        if not hidden or min(hidden) < 1:
            raise ValueError(
                f"hidden {tuple(hidden)}: accepted are one or more widths of 1 or more"
            )
        if residual and len(set(hidden)) > 1:
            raise ValueError(f"hidden {tuple(hidden)}: residual layers are accepted at one width")
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation {activation!r}: accepted are {', '.join(_ACTIVATIONS)}")
        self.num_dims, self.num_features, self.num_params = num_dims, num_features, num_params
        self.activation, self.residual, self.dropout = activation, residual, dropout
        self._masks: dict[tuple[int, int], Tensor] = {}
        for layer, degrees in enumerate(zip(*wirings, strict=True)):
            stacked = torch.stack(degrees).to(torch.get_default_dtype())
            self.register_buffer(f"degrees_{layer}", stacked, persistent=False)
        widths = [num_dims * num_features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, hidden, strict=False))
        self.output = nn.Linear(hidden[-1], num_dims * num_params)
        self.direct: nn.Linear | None = None
        if direct:
            self.direct = nn.Linear(widths[0], num_dims * num_params, bias=False)

    def degrees(self, layer: int, mask: int) -> Tensor:
        """Degrees of the dimensions (layer 0) or of a hidden layer's units. -> (num_units,)."""
        return self.get_buffer(f"degrees_{layer}")[mask]

    def forward(self, x: Tensor, mask: int = 0) -> Tensor:
        """Numbers by one of the wirings. Shapes: (B, D * num_features) -> (B, D, num_params)."""
        h = self.hidden(x, mask)
        y = linear(h, self._masked(self.output.weight, _OUTPUT, mask), self.output.bias)
        if self.direct is not None:
            y = y + linear(x, self._masked(self.direct.weight, _DIRECT, mask))
        return y.view(-1, self.num_dims, self.num_params)

    def hidden(self, x: Tensor, mask: int = 0) -> Tensor:
        """The last hidden layer. Shapes: (B, D * num_features) -> (B, H)."""
        h = pre = x
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            new = linear(h, self._masked(layer.weight, index, mask), layer.bias)
            # Units of one layer have the degrees of the next: a sum sees no more than its parts.
            pre = pre + new if self.residual and index > 0 else new
            h = dropout(_ACTIVATIONS[self.activation](pre), self.dropout, self.training)
        return h

    def at(self, x: Tensor, dim: Tensor, mask: int = 0) -> Tensor:
        """`forward` at one dimension of each row, without the output layer's other rows.

        Shapes: (B, D * num_features), int64 (B,) -> (B, num_params).
        """
        shape = (self.num_dims, self.num_params, -1)
        degrees = self.degrees(0, mask)
        place = degrees[dim][:, None]
        h = self.hidden(x, mask) * _exceeds(place, self._last(mask))
        y = torch.einsum("bph,bh->bp", self.output.weight.view(shape)[dim], h)
        y = y + self.output.bias.view(self.num_dims, self.num_params)[dim]
        if self.direct is not None:
            seen = x * _exceeds(place, degrees.repeat_interleave(self.num_features))
            y = y + torch.einsum("bpi,bi->bp", self.direct.weight.view(shape)[dim], seen)
        return y

    def weights(self, mask: int = 0) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Masked weights of the hidden layers, the outputs and the direct connections."""
        hidden = [self._masked(layer.weight, i, mask) for i, layer in enumerate(self.linears)]
        direct = None if self.direct is None else self._masked(self.direct.weight, _DIRECT, mask)
        return hidden, self._masked(self.output.weight, _OUTPUT, mask), direct

    @property
    def linears(self) -> list[nn.Linear]:
        """The hidden layers from the input on."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def order(self, mask: int = 0) -> Tensor:
        """The dimensions from first to last. -> int64 (D,)."""
        return self.degrees(0, mask).argsort()

    def _last(self, mask: int) -> Tensor:
        return self.degrees(len(self.layers), mask)

    def _masked(self, weight: Tensor, layer: int, mask: int) -> Tensor:
        """The weights of a hidden layer, of the outputs or of the direct connections, masked."""
        if get_proxy_mode() is not None:
            # A graph that is exported would hold the masks as constants, as large as the weights.
            return weight * self._mask(layer, mask)
        known = self._masks.get((layer, mask))
        if known is None or known.dtype != weight.dtype or known.device != weight.device:
            # To compare anew takes ten times as long as the product that it is for.
            known = self._masks[layer, mask] = self._mask(layer, mask)
        return weight * known

    def _mask(self, layer: int, mask: int) -> Tensor:
        inputs = self.degrees(0, mask).repeat_interleave(self.num_features)
        if layer in (_OUTPUT, _DIRECT):
            places = self.degrees(0, mask).repeat_interleave(self.num_params)
            return _exceeds(places[:, None], inputs if layer == _DIRECT else self._last(mask))
        below = self.degrees(layer, mask) if layer > 0 else inputs
        return _exceeds(self.degrees(layer + 1, mask)[:, None] + 1, below)


def _exceeds(a: Tensor, b: Tensor) -> Tensor:
    """1 where a > b and 0 elsewhere, of whole numbers. Shapes: broadcast."""
    return (a - b).clamp(0, 1)
