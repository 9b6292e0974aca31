"""A residual network of convolutions that may be told where in the image it is."""

import torch
from torch import Tensor, nn


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
    """x with row and column in [-1, 1] as channels. Shapes: (B, C, H, W) -> (B, C + 2, H, W)."""
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
