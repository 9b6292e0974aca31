"""A PixelCNN that tells each colour's distribution exactly, of a whole image or one by one."""

import math
from functools import cached_property

import torch
from torch import Tensor

from models.core.coding.codec import SequentialCodec
from models.core.coding.exact_twin import exact
from models.core.coding.fixed_point import to_fixed_point
from models.core.contract.grid import Grid
from models.core.contract.rows import Rows
from models.core.distributions.levels import Output
from models.core.pixelcnn.cached_net import CachedPixelNet


class PixelCodec(SequentialCodec):
    """The codec of images without labels, one colour of one pixel a step.

    The columns above and left hold the cache, and h what the present pixel's colours share.
    """

    columns = (*SequentialCodec.columns, "above", "left", "h")

    def __init__(
        self, net: CachedPixelNet, output: Output, grid: Grid, shape: tuple[int, int, int]
    ) -> None:
        """Shape (K, H, W)."""
        super().__init__(output, math.prod(shape))
        self.net = net
        self.grid = grid
        self.shape = shape

    @cached_property
    def _twin(self) -> CachedPixelNet:
        return exact(self.net)

    def order(self, index: int) -> Tensor:
        """All colours of a pixel behind one another, and the pixels in raster order."""
        return torch.arange(self.num_steps).view(self.shape[0], -1).T.flatten()

    def parallel(self, levels: Tensor, order: int) -> Tensor:
        params: Tensor = self._twin(self._seen(levels), _no_label(levels))
        return params.flatten(1, 3)

    def start(self, num: int) -> Rows:
        above, left = self._twin.empty(num)
        h = above.new_zeros(num, above.shape[-1])
        return {**super().start(num), "above": above, "left": left, "h": h}

    def sequential(
        self, kept: Rows, levels: Tensor, step: Tensor, order: Tensor
    ) -> tuple[Tensor, Rows]:
        above, left, h = kept["above"], kept["left"], kept["h"]
        x, label = self._seen(levels), _no_label(levels)
        num_colours, _, width = self.shape
        pixel, colour = step // num_colours, (step % num_colours).to(x.device)
        row, column = (part.to(x.device) for part in (pixel // width, pixel % width))
        changed: Rows = {}
        # Asked on the CPU, where the column step stays, so that no device is waited for.
        begin = (step % (num_colours * width) == 0).nonzero()[:, 0].to(x.device)
        if len(begin):
            started = (part[begin] for part in (above, x, row, label))
            above = changed["above"] = above.index_copy(0, begin, self._twin.begin_row(*started))
            left = changed["left"] = left.index_fill(0, begin, 0.0)
        begin = (step % num_colours == 0).nonzero()[:, 0].to(x.device)
        if len(begin) == len(step):  # mostly, or none is: events of a segment keep in step
            h, left = self._twin.pixel(above, left, x, row, column, label)
            changed |= {"h": h, "left": left}
        elif len(begin):
            parts = (part[begin] for part in (above, left, x, row, column, label))
            begun = zip((h, left), self._twin.pixel(*parts), strict=True)
            h, left = (column.index_copy(0, begin, new) for column, new in begun)
            changed |= {"h": h, "left": left}
        each = torch.arange(len(levels), device=x.device)
        params = self._twin.head(h, x[each, :, row, column])[each, colour]
        return params, changed

    def _seen(self, levels: Tensor) -> Tensor:
        """The network's inputs, in fixed point. Shapes: int64 (n, D) -> (n, K, H, W)."""
        return to_fixed_point(2 * self.grid.values(levels).double() - 1).unflatten(1, self.shape)


def _no_label(levels: Tensor) -> Tensor:
    return torch.full((len(levels),), -1, device=levels.device)
