"""A PixelCNN that tells each pixel's distribution exactly, of a whole image or pixel by pixel."""

from functools import cached_property

import torch
from torch import Tensor

from models.core.coding import SequentialCodec
from models.core.exact import exact
from models.core.fixed_point import on_grid
from models.core.grid import Grid
from models.core.operation import Rows
from models.core.outputs import Output
from models.core.pixelcnn_cache import CachedPixelNet


class PixelCodec(SequentialCodec):
    """Of images of one channel, without labels. The columns above and left hold the cache."""

    columns = (*SequentialCodec.columns, "above", "left")

    def __init__(
        self, net: CachedPixelNet, output: Output, grid: Grid, shape: tuple[int, int]
    ) -> None:
        super().__init__(output, shape[0] * shape[1])
        self.net = net
        self.grid = grid
        self.shape = shape

    @cached_property
    def _twin(self) -> CachedPixelNet:
        return exact(self.net)

    def order(self, index: int) -> Tensor:
        return torch.arange(self.num_steps)

    def parallel(self, levels: Tensor, order: int) -> Tensor:
        params: Tensor = self._twin(self._seen(levels), _no_label(levels))
        return params.flatten(1, 2)

    def start(self, num: int) -> Rows:
        above, left = self._twin.empty(num)
        return {**super().start(num), "above": above, "left": left}

    def sequential(
        self, kept: Rows, levels: Tensor, step: Tensor, order: Tensor
    ) -> tuple[Tensor, Rows]:
        above, left, x, label = kept["above"], kept["left"], self._seen(levels), _no_label(levels)
        changed = {}
        begin = (step % self.shape[1] == 0).nonzero()[:, 0].to(x.device)
        row, column = (part.to(x.device) for part in (step // self.shape[1], step % self.shape[1]))
        if len(begin):
            started = (part[begin] for part in (above, x, row, label))
            above = changed["above"] = above.index_copy(0, begin, self._twin.begin_row(*started))
            left = left.index_fill(0, begin, 0.0)
        params, changed["left"] = self._twin.pixel(above, left, x, row, column, label)
        return params, changed

    def _seen(self, levels: Tensor) -> Tensor:
        """Grey as the network takes it, on the grid. Shapes: int64 (n, D) -> (n, H, W)."""
        return on_grid(2 * self.grid.values(levels).double() - 1).unflatten(1, self.shape)


def _no_label(levels: Tensor) -> Tensor:
    return torch.full((len(levels),), -1, device=levels.device)
