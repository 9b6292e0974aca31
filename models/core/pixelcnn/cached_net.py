"""A PixelCNN one pixel at a time, at the cost of one column of each layer.

What earlier pixels have computed is kept: of v the last rows that each layer reads, renewed once
an image row, since v of a row depends on the rows above only; of h the last pixels of the present
row (Ramachandran et al. 2017, "Fast generation for convolutional autoregressive models",
arXiv:1704.06001). A row of the table may be at any pixel, whatever its neighbours are at.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from models.core.pixelcnn.net import PixelNet


class CachedPixelNet(PixelNet):
    """A PixelNet that can also go on from what it keeps in two columns.

    above (B, R, W, C) holds rows of v and left (B, Q, C) pixels of h, each layer's in its own
    slice, the oldest first. Zeros are the cache of an image without pixels, as they are the
    padding of the whole network.
    """

    present: Tensor
    taps: Tensor
    shifted: Tensor

    def __init__(self, shape: tuple[int, int], num_params: int, **settings: Any) -> None:
        super().__init__(shape, num_params, **settings)
        pasts = [layer.dilation * (layer.num_taps - 1) for layer in self.gated]
        # What layer i reads of v: its past rows and the present one; of the last v, one row.
        self._rows = _slices([past + 1 for past in pasts] + [1])
        pixels = _slices(pasts)
        num_pixels = pixels[-1].stop
        taps = [
            place
            for layer, kept in zip(self.gated, pixels, strict=True)
            for place in range(kept.start, kept.stop, layer.dilation)
        ]
        # Of the column left with the new h of every layer behind it: all but each layer's oldest.
        shifted = [
            place
            for i, kept in enumerate(pixels)
            for place in (*range(kept.start + 1, kept.stop), num_pixels + i)
        ]
        present = [rows.stop - 1 for rows in self._rows[1:]]
        for name, index in (("present", present), ("taps", taps), ("shifted", shifted)):
            self.register_buffer(name, torch.tensor(index), persistent=False)

    def empty(self, num_rows: int) -> tuple[Tensor, Tensor]:
        """The columns above and left before the first pixel."""
        weight = self.hidden.weight
        width, channels = len(self.input.columns), weight.shape[1]
        above = weight.new_zeros(num_rows, self._rows[-1].stop, width, channels)
        return above, weight.new_zeros(num_rows, len(self.shifted), channels)

    def begin_row(
        self, above: Tensor, x: Tensor, row: Tensor, label: Tensor, *features: Tensor
    ) -> Tensor:
        """The column above with v of one more image row, of which nothing is drawn yet.

        Shapes: above (B, R, W, C), x (B, K, H, W) in [-1, 1], row and label (B,), features
        (B, H, W, F) if there are any -> (B, R, W, C).
        """
        entrance = self.input
        reach = entrance.reach
        rows = pad(x, (reach, reach, reach, 0))
        index = row[:, None] + torch.arange(reach, device=row.device)
        rows = rows.gather(2, index[:, None, :, None].expand(-1, x.shape[1], -1, rows.shape[3]))
        columns = torch.arange(x.shape[3], device=x.device)
        of_v, _ = entrance.conditions(label[:, None, None], row[:, None, None], columns)
        v = entrance.vertical(rows) + of_v
        given = [_at(maps, row).unsqueeze(1) for maps in features]
        renewed = []
        for layer, kept in zip(self.gated, self._rows, strict=False):
            past = kept.stop - kept.start - 1
            rows = torch.cat([above[:, kept.start + 1 : kept.stop], v], 1)
            renewed.append(rows)
            v = v + layer.vertical(pad(rows, (0, 0, past, past)), *given)
        return torch.cat([*renewed, v], 1)

    def pixel(
        self,
        above: Tensor,
        left: Tensor,
        x: Tensor,
        row: Tensor,
        column: Tensor,
        label: Tensor,
        *features: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """h of the pixel at row, column, for the head; and the column left after it.

        Shapes: above (B, R, W, C), left (B, Q, C), x (B, K, H, W) in [-1, 1], row, column and
        label (B,), features (B, H, W, F) if there are any -> (B, C), (B, Q, C).
        """
        entrance = self.input
        index = column[:, None] + torch.arange(entrance.reach, device=x.device)
        present = x.gather(2, row[:, None, None, None].expand(-1, x.shape[1], 1, x.shape[3]))
        before = pad(present.squeeze(2), (entrance.reach, 0))
        before = before.gather(2, index[:, None].expand(-1, x.shape[1], -1))
        _, of_h = entrance.conditions(label, row, column)
        h = entrance.horizontal(before) + of_h
        at = column[:, None, None, None].expand(-1, above.shape[1], 1, above.shape[3])
        v = above.gather(2, at).squeeze(2).index_select(1, self.present)
        # All layers have equally many taps, since they share their kernel size.
        taps = left.index_select(1, self.taps).unflatten(1, (v.shape[1], -1)).flatten(2)
        given = [_at(_at(maps, row), column) for maps in features]
        passed = []
        for i, layer in enumerate(self.gated):
            passed.append(h)
            h = h + layer.horizontal(torch.cat([taps[:, i], h, v[:, i], *given], 1))
        known = torch.cat([left, torch.stack(passed, 1)], 1)
        return h, known.index_select(1, self.shifted)


def _at(maps: Tensor, index: Tensor) -> Tensor:
    """The entry at each table row's own place. Shapes: (B, N, ...), index (B,) -> (B, ...)."""
    at = index.view(-1, *(1 for _ in maps.shape[1:])).expand(-1, 1, *maps.shape[2:])
    return maps.gather(1, at).squeeze(1)


def _slices(sizes: list[int]) -> list[slice]:
    """Neighbouring slices of these sizes, from 0 on."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
