"""A masked network that tells each dimension's distribution exactly, whole or one at a time.

Every hidden unit depends on the dimensions up to its degree, so that a decoder computes each unit
once, in the step after the last of them is known: all steps together cost about one pass.
"""

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import relu

from models.core.coding.codec import SequentialCodec
from models.core.coding.exact_twin import ExactLinear
from models.core.coding.fixed_point import REACH, silu, to_fixed_point
from models.core.contract.rows import Rows
from models.core.distributions.levels import Output
from models.core.nn.masked import MaskedMLP

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "silu": silu}

Features = Callable[[Tensor, torch.dtype], Tensor]
"""What the network sees. Shapes: levels int64 (n, D) -> (n, D * num_features)."""


class MaskedCodec(SequentialCodec):
    """The codec of a `MaskedMLP` and its orders. Column hidden (N, H) has the units so far."""

    columns = (*SequentialCodec.columns, "hidden")

    def __init__(self, net: MaskedMLP, output: Output, features: Features, num_orders: int) -> None:
        super().__init__(output, net.num_dims, num_orders)
        self.net = net
        self.features = features

    @cached_property
    def _twins(self) -> list["_Twin"]:
        return [_Twin(self.net, mask) for mask in range(self.num_orders)]

    def order(self, index: int) -> Tensor:
        return self.net.order(index).cpu()

    def parallel(self, levels: Tensor, order: int) -> Tensor:
        return self._twins[order](self._seen(levels))

    def start(self, num: int) -> Rows:
        size = sum(layer.out_features for layer in self.net.linears)
        hidden = torch.zeros(num, size, dtype=torch.float64, device=self.net.output.weight.device)
        return {**super().start(num), "hidden": hidden}

    def sequential(
        self, kept: Rows, levels: Tensor, step: Tensor, order: Tensor
    ) -> tuple[Tensor, Rows]:
        x, hidden = self._seen(levels), kept["hidden"]
        keys = order * self.num_steps + step
        distinct = keys.unique().tolist()
        if len(distinct) == 1:
            mask, place = divmod(distinct[0], self.num_steps)
            params, hidden = self._twins[mask].at(x, hidden, place)
            return params, {"hidden": hidden}
        hidden, params = hidden.clone(), x.new_empty(len(x), self.net.num_params)
        for key in distinct:
            here = (keys == key).nonzero()[:, 0].to(x.device)
            mask, place = divmod(key, self.num_steps)
            params[here], hidden[here] = self._twins[mask].at(x[here], hidden[here], place)
        return params, {"hidden": hidden}

    def _seen(self, levels: Tensor) -> Tensor:
        return to_fixed_point(self.features(levels, torch.float64))


class _Twin:
    """The network by one of its masks, in fixed-point arithmetic."""

    def __init__(self, net: MaskedMLP, mask: int) -> None:
        hidden, output, direct = net.weights(mask)
        self.shape = (net.num_dims, net.num_params)
        self.activation = _ACTIVATIONS[net.activation]
        self.residual = net.residual
        self.order = net.order(mask).tolist()
        self.layers = [
            ExactLinear(w, layer.bias) for w, layer in zip(hidden, net.linears, strict=True)
        ]
        self.output = ExactLinear(output, net.output.bias)
        self.direct = None if direct is None else ExactLinear(direct)
        self.slices = neighbours([layer.out_features for layer in self.layers])
        degrees = [net.degrees(i + 1, mask).long() for i in range(len(hidden))]
        self.complete = [
            [(d == place).nonzero()[:, 0] for place in range(net.num_dims)] for d in degrees
        ]
        """The units that are known once so many dimensions are, by layer and place."""

    def __call__(self, x: Tensor) -> Tensor:
        """Shapes: (n, D * num_features) -> (n, D, num_params), all in fixed point."""
        h = pre = x
        for index, layer in enumerate(self.layers):
            new = layer(h)
            pre = pre + new if self.residual and index > 0 else new
            h = self.activation(pre)
        y = self.output(h)
        if self.direct is not None:
            y = y + self.direct(x)
        return y.view(-1, *self.shape)

    def at(self, x: Tensor, hidden: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Numbers of the dimension at one place in the order, and the units known there.

        Units that are not known yet are 0, and so are all weights by which this place sees them.
        Shapes: (n, D * num_features), (n, H) -> (n, num_params), (n, H).
        """
        hidden, below, pre = hidden.clone(), x, x
        for index, (layer, kept) in enumerate(zip(self.layers, self.slices, strict=True)):
            units = self.complete[index][place]
            if len(units):
                new = layer.some(below, units)
                # With residual connections all layers have the same degrees.
                pre = pre + new if self.residual and index > 0 else new
                hidden[:, units + kept.start] = self.activation(pre).clamp(-REACH, REACH)
            below = hidden[:, kept]
        size = self.shape[1]
        here = slice(self.order[place] * size, (self.order[place] + 1) * size)
        y = self.output.some(below, here)
        return (y if self.direct is None else y + self.direct.some(x, here)), hidden


def neighbours(sizes: list[int]) -> list[slice]:
    """Slices of these sizes, each where the last one ends."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
