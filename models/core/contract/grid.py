"""Discrete events: the evenly spaced values that a pixel or a count can take."""

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_LEVELS = 256
"""Grey levels of an 8-bit pixel."""


@dataclass(frozen=True)
class Grid:
    """`num_levels` values from 0 to `top`: grey levels in [0, 1] of images, counts of vectors."""

    num_levels: int
    top: float = 1.0

    def levels(self, x: Tensor) -> Tensor:
        """The nearest level of each value. Shapes: (B, ...) -> int64 (B, ...)."""
        scale = (self.num_levels - 1) / self.top
        return (x.clamp(0.0, self.top) * scale).round().long()

    def values(self, levels: Tensor) -> Tensor:
        """The value of each level. Shapes: int64 (B, ...) -> float32 (B, ...)."""
        return levels.float() * (self.top / (self.num_levels - 1))


def grid_of(event_shape: tuple[int, ...], num_levels: int) -> Grid | None:
    """The grid of images in [0, 1] or of vectors of levels; None if num_levels is 0.

    Raises ValueError if there is but one level, or an image without levels.
    """
    is_image = len(event_shape) == 3
    if num_levels == 0 and is_image:
        raise ValueError("num_levels 0: accepted are 2 and more, since pixels are levels")
    if num_levels == 0:
        return None
    if num_levels < 2:
        raise ValueError(f"num_levels {num_levels}: accepted are 0 (continuous) and 2 or more")
    return Grid(num_levels, 1.0 if is_image else num_levels - 1.0)


def binarise(pixels: Tensor, u: Tensor) -> Tensor:
    """Black and white pixels, white with probability grey / 255 by uniform numbers u in [0, 1).

    The distribution of the statically binarised MNIST (Salakhutdinov and Murray 2008); black and
    white pixels stay as they are. Shapes: uint8, float -> uint8.
    """
    return torch.where(u < pixels.float() / 255, 255, 0).to(torch.uint8)


def quantise(x: Tensor) -> Tensor:
    """The nearest 8-bit pixels of x in [0, 1]. Shapes: (B, ...) -> uint8 (B, ...)."""
    return (x.clamp(0, 1) * (NUM_LEVELS - 1)).round().byte()


def to_unit(pixels: Tensor) -> Tensor:
    """8-bit pixels as events in [0, 1], pixel / 255. Shapes: uint8 (B, ...) -> float32 (B, ...)."""
    return pixels.float() / (NUM_LEVELS - 1)
