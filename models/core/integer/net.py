"""The networks of integer flows: plain convolutions that know where in the image they are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_TABLE_GAIN = 16.0
"""An optimiser moves each number by its rate a step. In a convolution many move together, here one
moves alone."""


class PlaceNet(nn.Module):
    """Residual convolutions without normalisation, plus a learned vector for every place.

    Made of plain modules, convolutions and activations, with sums between them, so that a copy with
    other arithmetic can be made module by module. The last layer starts at zero.
    Shapes: (B, num_in, H, W) -> (B, num_out, H, W).
    """

    def __init__(
        self, num_in: int, num_out: int, sides: Sequence[int], channels: int, num_blocks: int
    ) -> None:
        super().__init__()
        self.entry = nn.Conv2d(num_in, channels, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(channels, *sides))
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.SiLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.SiLU(),
                nn.Conv2d(channels, channels, 1),
            )
            for _ in range(num_blocks)
        )
        self.activation = nn.SiLU()
        self.exit = nn.Conv2d(channels, num_out, 3, padding=1)
        for parameter in self.exit.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        h = self.entry(x) + self.place
        for block in self.blocks:
            h = h + block(h)
        # The hidden layers may run in half precision, which has no levels between 128 and 129.
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.exit(self.activation(h).to(x.dtype))
        return out


class Table(nn.Module):
    """A number for every place and channel, whatever the input: what is known of the first part.

    Shapes: (B, ..., H, W) -> (B, num_out, H, W).
    """

    def __init__(self, num_out: int, sides: Sequence[int]) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(num_out, *sides))

    def forward(self, x: Tensor) -> Tensor:
        return (_TABLE_GAIN * self.place).expand(x.shape[0], *self.place.shape)
