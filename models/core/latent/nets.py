"""Encoders and decoders of latent-variable models: multilayer perceptrons and convolutions."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from models.core.nn.conv import ConvNet

NetName = Literal["mlp", "conv"]


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with SiLU between them. Shapes: (B, sizes[0]) -> (B, sizes[-1])."""
    layers: list[nn.Module] = []
    for num_in, num_out in pairwise(sizes):
        layers += [nn.Linear(num_in, num_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class MLPEncoder(nn.Module):
    """Events in [0, 1] as vectors. Shapes: (B, *event) -> (B, num_outputs)."""

    def __init__(self, event_shape: Sequence[int], hidden: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.layers = mlp([torch.Size(event_shape).numel(), *hidden, num_outputs])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(2 * x.flatten(1) - 1)
        return out


def encoder(
    name: NetName,
    event_shape: tuple[int, ...],
    channels: Sequence[int],
    hidden: Sequence[int],
    num_outputs: int,
) -> nn.Module:
    """Events in [0, 1] to numbers, by name; a convolution halves the sides for each of `channels`.

    Shapes: (B, *event) -> (B, num_outputs). Raises ValueError if name or sizes do not fit.
    """
    _check(name, event_shape, channels, hidden)
    if name == "mlp":
        return MLPEncoder(event_shape, hidden, num_outputs)
    return ConvNet(event_shape, channels, [2] * len(channels), hidden[0], num_outputs)


class MLPDecoder(nn.Module):
    """Latents to numbers for each value. Shapes: (B, num_in) -> (B, *event, num_params)."""

    def __init__(
        self, num_in: int, hidden: Sequence[int], event_shape: tuple[int, ...], num_params: int
    ) -> None:
        super().__init__()
        self.shape = (*event_shape, num_params)
        self.layers = mlp([num_in, *hidden, torch.Size(self.shape).numel()])

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).unflatten(1, self.shape)


class ConvDecoder(nn.Module):
    """A mirror of the strided encoder: a coarse picture, twice the size for each of `channels`.

    Shapes: (B, num_in) -> (B, C, H, W, num_params).
    """

    def __init__(
        self,
        num_in: int,
        hidden: int,
        channels: Sequence[int],
        event_shape: tuple[int, ...],
        num_params: int,
    ) -> None:
        super().__init__()
        num_colours, height, width = event_shape
        self.num_params = num_params
        self.sides = [(height, width)]
        for _ in channels:
            height, width = -(-height // 2), -(-width // 2)
            self.sides.insert(0, (height, width))
        self.entry = mlp([num_in, hidden, channels[0] * height * width])
        outs = [*channels[1:], channels[-1]]
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)
            for a, b in zip(channels, outs, strict=True)
        )
        self.exit = nn.Conv2d(channels[-1], num_colours * num_params, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        (height, width), *rest = self.sides
        h = self.entry(z).unflatten(1, (-1, height, width))
        for layer, (height, width) in zip(self.layers, rest, strict=True):
            # Twice the half of an odd side is one too many.
            h = layer(nn.functional.silu(h))[:, :, :height, :width]
        h = self.exit(nn.functional.silu(h))
        return h.unflatten(1, (-1, self.num_params)).movedim(2, -1)


def decoder(
    name: NetName,
    num_in: int,
    hidden: Sequence[int],
    channels: Sequence[int],
    event_shape: tuple[int, ...],
    num_params: int,
) -> nn.Module:
    """Latents to `num_params` numbers for each value, by name.

    Shapes: (B, num_in) -> (B, *event, num_params). Raises ValueError if name or sizes do not fit.
    """
    _check(name, event_shape, channels, hidden)
    if name == "mlp":
        return MLPDecoder(num_in, hidden, event_shape, num_params)
    return ConvDecoder(num_in, hidden[0], channels, event_shape, num_params)


def _check(
    name: str, event_shape: tuple[int, ...], channels: Sequence[int], hidden: Sequence[int]
) -> None:
    if name not in ("mlp", "conv"):
        raise ValueError(f"network {name!r}: accepted are mlp, conv")
    if min(hidden, default=1) < 1:
        raise ValueError(f"hidden {tuple(hidden)}: accepted are widths of 1 and more")
    if name == "mlp":
        return
    if len(event_shape) != 3:
        raise ValueError(f"event_shape {event_shape}: conv accepts images (C, H, W)")
    if len(hidden) != 1:
        raise ValueError(f"hidden {tuple(hidden)}: conv accepts one width")
    if not channels or min(channels) < 1:
        raise ValueError(f"channels {tuple(channels)}: conv accepts one or more widths")
