"""Ways to halve an event: what a coupling keeps and what it changes."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from models.core.transforms.multiscale import DIAGONAL, squeeze, unsqueeze


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
