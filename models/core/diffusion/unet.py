"""The network of diffusion models: from a noisy image and its time to the noise in it.

Ronneberger et al. 2015; with time embedding, group norm and attention Ho et al. 2020,
arXiv:2006.11239, appendix B; scales and shifts by time and class Dhariwal and Nichol 2021,
arXiv:2105.05233, section 3.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, silu

_GROUPS = 8
_LONGEST = 10_000.0  # of the embedding's periods, over 2 pi; times are made to end at 1000


class UNet(nn.Module):
    """A level per entry of `channels`, each half as high and wide as the one before.

    Images enter in patches, `patch` squared pixels as channels of one place, so that large ones
    cost no more than small ones (Hoogeboom et al. 2023, arXiv:2301.11093, section 2.2).
    Shapes: z (B, C, H, W), t (B,) in [0, num_train_steps], label (B,) int64 with -1 for none ->
    (B, C, H, W).
    """

    def __init__(
        self,
        event_shape: tuple[int, int, int],
        channels: Sequence[int],
        *,
        num_blocks: int,
        attention_levels: Sequence[int],
        patch: int,
        embedding: int,
        num_classes: int,
        num_train_steps: int,
    ) -> None:
        """Raises ValueError if sides or widths cannot be divided as they must."""
        super().__init__()
        side = patch * 2 ** (len(channels) - 1)
        if event_shape[1] % side or event_shape[2] % side:
            raise ValueError(f"event_shape {event_shape}: accepted are multiples of {side} pixels")
        if any(width % _GROUPS for width in channels):
            raise ValueError(f"channels {tuple(channels)}: accepted are multiples of {_GROUPS}")
        if embedding < 2 or embedding % 2:
            raise ValueError(f"embedding {embedding}: accepted are even numbers from 2")
        self.patch = patch
        self.time_scale = 1000 / num_train_steps
        self.embedding = embedding
        self.time = nn.Sequential(
            nn.Linear(embedding, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        # The last entry is that of no label.
        self.classes = nn.Embedding(num_classes + 1, embedding)
        pixels = event_shape[0] * patch**2
        self.entry = nn.Conv2d(pixels, channels[0], 3, padding=1)

        def stage(num_in: int, num_out: int, level: int) -> Stage:
            return Stage(num_in, num_out, embedding, level in attention_levels)

        self.num_blocks = num_blocks
        self.down = nn.ModuleList(
            stage(width, width, level)
            for level, width in enumerate(channels)
            for _ in range(num_blocks)
        )
        self.shrink = nn.ModuleList(
            nn.Conv2d(above, below, 3, 2, 1) for above, below in pairwise(channels)
        )
        last = len(channels) - 1
        self.middle = stage(channels[-1], channels[-1], last)
        self.up = nn.ModuleList(
            stage(2 * width, width, level)
            for level, width in enumerate(channels)
            for _ in range(num_blocks)
        )
        self.grow = nn.ModuleList(
            nn.Conv2d(below, above, 3, padding=1) for above, below in pairwise(channels)
        )
        self.exit_norm = nn.GroupNorm(_GROUPS, channels[0])
        self.exit = zeroed(nn.Conv2d(channels[0], pixels, 3, padding=1))

    def forward(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        index = torch.where(label < 0, self.classes.num_embeddings - 1, label)
        about = silu(self.time(self._waves(t.to(z.dtype))) + self.classes(index))
        h = self.entry(pixel_unshuffle(z, self.patch) if self.patch > 1 else z)
        skips: list[Tensor] = []
        for i, stage in enumerate(self.down):
            if i > 0 and i % self.num_blocks == 0:
                h = self.shrink[i // self.num_blocks - 1](h)
            h = stage(h, about)
            skips.append(h)
        h = self.middle(h, about)
        for i, stage in reversed(list(enumerate(self.up))):
            h = stage(torch.cat([h, skips.pop()], 1), about)
            if i > 0 and i % self.num_blocks == 0:
                wider = interpolate(h, scale_factor=2.0, mode="nearest")
                h = self.grow[i // self.num_blocks - 1](wider)
        eps: Tensor = self.exit(silu(self.exit_norm(h)))
        return pixel_shuffle(eps, self.patch) if self.patch > 1 else eps

    def _waves(self, t: Tensor) -> Tensor:
        """Sines and cosines of t at geometric frequencies. Shapes: (B,) -> (B, embedding)."""
        half = self.embedding // 2
        rate = torch.arange(half, device=t.device, dtype=t.dtype) / half
        angle = (self.time_scale * t)[:, None] * (-math.log(_LONGEST) * rate).exp()
        return torch.cat([angle.sin(), angle.cos()], 1)


class Stage(nn.Module):
    """A residual block, and attention after it if wanted. Shapes: (B, C, H, W), (B, E) -> same."""

    def __init__(self, num_in: int, num_out: int, embedding: int, attention: bool) -> None:
        super().__init__()
        self.block = Block(num_in, num_out, embedding)
        self.attention = Attention(num_out) if attention else nn.Identity()

    def forward(self, h: Tensor, about: Tensor) -> Tensor:
        out: Tensor = self.attention(self.block(h, about))
        return out


class Block(nn.Module):
    """Two convolutions beside a skip; time and class scale and shift what lies between them."""

    def __init__(self, num_in: int, num_out: int, embedding: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, num_in)
        self.first = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.about = nn.Linear(embedding, 2 * num_out)
        self.norm_about = nn.GroupNorm(_GROUPS, num_out)
        self.second = zeroed(nn.Conv2d(num_out, num_out, 3, padding=1))
        self.skip = nn.Conv2d(num_in, num_out, 1) if num_in != num_out else nn.Identity()

    def forward(self, h: Tensor, about: Tensor) -> Tensor:
        scale, shift = self.about(about)[:, :, None, None].chunk(2, 1)
        inner = self.first(silu(self.norm(h)))
        inner = self.norm_about(inner) * (1 + scale) + shift
        out: Tensor = self.skip(h) + self.second(silu(inner))
        return out


class Attention(nn.Module):
    """Every place looks at every other (Vaswani et al. 2017). Shapes: (B, C, H, W) -> same."""

    def __init__(self, channels: int, num_heads: int = 2) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.entry = nn.Conv2d(channels, 3 * channels, 1)
        self.exit = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, h: Tensor) -> Tensor:
        batch, channels, height, width = h.shape
        size = channels // self.num_heads
        shape = (batch, 3, self.num_heads, size, height * width)
        query, key, value = self.entry(self.norm(h)).view(shape).unbind(1)
        weight = (query.transpose(-1, -2) @ key / math.sqrt(size)).softmax(-1)
        seen = (value @ weight.transpose(-1, -2)).view(batch, channels, height, width)
        out: Tensor = h + self.exit(seen)
        return out


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that gives nothing at first, so that every block begins as its skip."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
