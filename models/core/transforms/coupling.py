"""Affine coupling: one half of an event is scaled and shifted by what a network sees in the other.

Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803, section 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.core.transforms.multiscale import DIAGONAL, squeeze, unsqueeze
from models.core.transforms.transform import Transform


class Halves(nn.Module, ABC):
    """How an event falls into a half that is kept and a half that is changed."""

    kept_shape: tuple[int, ...]
    changed_shape: tuple[int, ...]

    @abstractmethod
    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: (B, *event) -> kept (B, *kept_shape), changed (B, *changed_shape)."""

    @abstractmethod
    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        """The inverse of `split`."""

    def free(self, params: Tensor) -> Tensor:
        """Zero where `changed` only fills a shape and is no part of the event.

        Shapes: (B, *changed_shape) -> (B, *changed_shape).
        """
        return params


class ChannelHalves(Halves):
    """The first channels are kept and the last changed, or the other way round.

    Raises ValueError if there is but one channel.
    """

    def __init__(self, shape: tuple[int, ...], *, swap: bool = False) -> None:
        super().__init__()
        num_channels, *rest = shape
        if num_channels < 2:
            raise ValueError(f"{num_channels} channel cannot be halved: accepted are 2 and more")
        self.swap = swap
        self.sizes = [num_channels // 2, num_channels - num_channels // 2]
        kept, changed = reversed(self.sizes) if swap else self.sizes
        self.kept_shape, self.changed_shape = (kept, *rest), (changed, *rest)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, last = x.split(self.sizes, 1)
        return (last, first) if self.swap else (first, last)

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, kept] if self.swap else [kept, changed], 1)


class Checkerboard(ChannelHalves):
    """White and black fields of an image of even sides, each as channels at half the size.

    The network then sees only what is kept, at a quarter of the positions.
    """

    def __init__(self, shape: tuple[int, ...], *, swap: bool = False) -> None:
        num_channels, height, width = shape
        super().__init__((4 * num_channels, height // 2, width // 2), swap=swap)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().split(squeeze(x, DIAGONAL))

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return unsqueeze(super().join(kept, changed), DIAGONAL)


class MaskedCheckerboard(Halves):
    """White and black fields of an image of any sides, at full size with zeros elsewhere."""

    mask: Tensor

    def __init__(self, shape: tuple[int, ...], *, swap: bool = False) -> None:
        super().__init__()
        self.kept_shape = self.changed_shape = shape
        _, height, width = shape
        field = torch.arange(height)[:, None] + torch.arange(width) + swap
        self.register_buffer("mask", (field % 2).float(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        changed = self.free(x)
        return x - changed, changed

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return kept + changed

    def free(self, params: Tensor) -> Tensor:
        return params * self.mask


class Alternate(Halves):
    """Even and odd entries of a vector. Raises ValueError if it has but one entry."""

    order: Tensor
    back: Tensor

    def __init__(self, shape: tuple[int, ...], *, swap: bool = False) -> None:
        super().__init__()
        (size,) = shape
        if size < 2:
            raise ValueError("a vector of 1 entry cannot be halved: accepted are 2 and more")
        parity = (torch.arange(size) + swap) % 2
        order = parity.argsort(stable=True)
        self.sizes = [size - int(parity.sum()), int(parity.sum())]
        self.kept_shape, self.changed_shape = (self.sizes[0],), (self.sizes[1],)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("back", order.argsort(), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, changed = x.index_select(1, self.order).split(self.sizes, 1)
        return kept, changed

    def join(self, kept: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([kept, changed], 1).index_select(1, self.back)


def halves(shape: tuple[int, ...], *, swap: bool = False) -> Halves:
    """The checkerboard of an image, the alternate entries of a vector."""
    if len(shape) == 1:
        return Alternate(shape, swap=swap)
    even = shape[1] % 2 == 0 and shape[2] % 2 == 0
    return Checkerboard(shape, swap=swap) if even else MaskedCheckerboard(shape, swap=swap)


class ResNet(nn.Module):
    """Residual network without normalisation, whose last layer starts at `start` times usual.

    Convolutions for images, (B, num_in, H, W) -> (B, num_out, H, W); fully connected for vectors,
    (B, num_in) -> (B, num_out). With `coordinates` it also sees the row and column of a pixel.
    """

    def __init__(
        self,
        num_in: int,
        num_out: int,
        *,
        channels: int,
        num_blocks: int,
        is_image: bool,
        coordinates: bool = False,
        start: float = 0.0,
    ) -> None:
        super().__init__()
        self.coordinates = coordinates and is_image
        wide, narrow = (_conv3, _conv1) if is_image else (nn.Linear, nn.Linear)
        self.entry = wide(num_in + 2 * self.coordinates, channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(), wide(channels, channels), nn.SiLU(), narrow(channels, channels)
            )
            for _ in range(num_blocks)
        )
        self.exit = _scaled(wide(channels, num_out), start)

    def forward(self, x: Tensor) -> Tensor:
        h = self.entry(_located(x) if self.coordinates else x)
        for block in self.blocks:
            h = h + block(h)
        out: Tensor = self.exit(nn.functional.silu(h))
        return out


def _located(x: Tensor) -> Tensor:
    """With row and column in [-1, 1] as channels. Shapes: (B, C, H, W) -> (B, C + 2, H, W)."""
    height, width = x.shape[2:]
    down = torch.linspace(-1, 1, height, dtype=x.dtype, device=x.device)[:, None]
    right = torch.linspace(-1, 1, width, dtype=x.dtype, device=x.device)[None, :]
    place = torch.stack([down.expand(height, width), right.expand(height, width)])
    return torch.cat([x, place.expand(x.shape[0], 2, height, width)], 1)


def _conv3(num_in: int, num_out: int) -> nn.Module:
    return nn.Conv2d(num_in, num_out, 3, padding=1)


def _conv1(num_in: int, num_out: int) -> nn.Module:
    return nn.Conv2d(num_in, num_out, 1)


@torch.no_grad()
def _scaled(layer: nn.Module, factor: float) -> nn.Module:
    for parameter in layer.parameters():
        parameter.mul_(factor)
    return layer


class AffineCoupling(Transform):
    """changed <- changed * exp(log_scale) + shift, both by a network of `kept` (equations 7, 8).

    log_scale = limit * tanh(raw / limit) with a learned limit a channel, so that no input can
    blow the scale up. Identity at first.
    """

    def __init__(self, parts: Halves, network: Callable[[int, int], nn.Module]) -> None:
        """`network(num_in, num_out)` maps (B, num_in, ...) to (B, num_out, ...)."""
        super().__init__()
        self.halves = parts
        num_changed, *rest = parts.changed_shape
        self.network = network(parts.kept_shape[0], 2 * num_changed)
        self.log_limit = nn.Parameter(torch.zeros(num_changed, *(1 for _ in rest)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`context` (B, C, ...) is more for the network to see, as channels."""
        kept, changed = self.halves.split(x)
        log_scale, shift = self._params(kept, context)
        changed = changed * log_scale.exp() + shift
        return self.halves.join(kept, changed), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self.halves.split(z)
        log_scale, shift = self._params(kept, context)
        changed = (changed - shift) * (-log_scale).exp()
        return self.halves.join(kept, changed), -log_scale.flatten(1).sum(1)

    def _params(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = kept if context is None else torch.cat([kept, context], 1)
        # The network may run in half precision, the state and the determinant may not.
        raw, shift = self.network(seen).to(kept.dtype).chunk(2, 1)
        limit = self.log_limit.exp()
        return self.halves.free(limit * (raw / limit).tanh()), self.halves.free(shift)
