"""Squeezing and factoring out: how image flows work at several resolutions.

Dinh et al. 2017, arXiv:1605.08803, section 3.6.
"""

import torch
from torch import Tensor

from models.core.transforms.transform import Transform

ROWS = (0, 1, 2, 3)
"""Positions of a 2 x 2 block in reading order: halves of the channels are its two rows."""
DIAGONAL = (0, 3, 1, 2)
"""Diagonal first: halves of the channels are the fields of a checkerboard."""


def squeeze(x: Tensor, order: tuple[int, ...] = ROWS) -> Tensor:
    """Blocks of 2 x 2 pixels as channels, position by position.

    Shapes: (B, C, H, W) -> (B, 4C, H/2, W/2).
    """
    blocks = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 3, 5, 1, 2, 4)
    if order == ROWS:
        return blocks.flatten(1, 3)
    positions = blocks.flatten(1, 2).unbind(1)
    return torch.cat([positions[i] for i in order], 1)


def unsqueeze(z: Tensor, order: tuple[int, ...] = ROWS) -> Tensor:
    """The inverse of `squeeze`. Shapes: (B, 4C, H, W) -> (B, C, 2H, 2W)."""
    if order != ROWS:
        positions = z.chunk(4, 1)
        z = torch.cat([positions[order.index(i)] for i in range(4)], 1)
    blocks = z.unflatten(1, (2, 2, -1)).permute(0, 3, 4, 1, 5, 2)
    return blocks.flatten(4, 5).flatten(2, 3)


def squeezed_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) -> (4C, H/2, W/2). Raises ValueError if a side is odd."""
    num_channels, height, width = shape
    if height % 2 or width % 2:
        raise ValueError(f"{height}x{width} cannot be squeezed: accepted are even sides")
    return 4 * num_channels, height // 2, width // 2


class Squeeze(Transform):
    """Shapes: (B, C, H, W) <-> (B, 4C, H/2, W/2)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return squeeze(x), x.new_zeros(x.shape[0])

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return unsqueeze(z), z.new_zeros(z.shape[0])


class FactorOut(Transform):
    """Half of the channels becomes latent as it is, the other half goes on through `rest`.

    Shapes: (B, *shape) <-> (B, D), first the part of `rest`, which takes
    (B, *kept_shape(shape)) to a vector.
    """

    def __init__(self, shape: tuple[int, ...], rest: Transform) -> None:
        super().__init__()
        num_channels, *sides = shape
        self.kept = kept_shape(shape)[0]
        self.out_shape = (num_channels - self.kept, *sides)
        self.rest = rest

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, out = x[:, : self.kept], x[:, self.kept :]
        z, log_abs_det = self.rest(kept)
        return torch.cat([z, out.flatten(1)], 1), log_abs_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        size = torch.Size(self.out_shape).numel()
        kept, log_abs_det = self.rest.inverse(z[:, :-size])
        return torch.cat([kept, z[:, -size:].unflatten(1, self.out_shape)], 1), log_abs_det

    def initialise(self, x: Tensor) -> Tensor:
        z = self.rest.initialise(x[:, : self.kept])
        return torch.cat([z, x[:, self.kept :].flatten(1)], 1)


def kept_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """What of (C, H, W) goes on when half of the channels is factored out."""
    num_channels, height, width = shape
    return num_channels // 2, height, width
