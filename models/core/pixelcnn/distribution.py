"""The distribution of images by a PixelCNN, as graphs: log_prob, and the draw of one pixel."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.grid import Grid
from models.core.distributions.levels import Output
from models.core.pixelcnn.cached_net import CachedPixelNet


class PixelDistribution:
    """The distribution that a network and the output of a pixel make together.

    `given` is what the image is conditioned on: the label (B,) of a network that knows classes,
    then feature maps (B, H, W, F) if it takes them. Images are (B, K, H, W) in [0, 1].
    """

    def __init__(self, net: CachedPixelNet, output: Output, grid: Grid) -> None:
        self.net = net
        self.output = output
        self.grid = grid

    def log_prob(self, x: Tensor, *given: Tensor) -> Tensor:
        """log P of the nearest grid values. Shapes: x (B, K, H, W) -> (B,), nats."""
        levels = self.grid.levels(x)
        params = self.net(_seen(self.grid.values(levels).to(x.dtype)), *self._conditions(x, given))
        return self.output.log_prob(params.to(x.dtype), levels).flatten(1).sum(1)

    def begin_row(self, above: Tensor, x: Tensor, step: Tensor, *given: Tensor) -> tuple[Tensor]:
        """The column above for the image row that begins at `step` (see `CachedPixelNet`)."""
        row = step // x.shape[3]
        return (self.net.begin_row(above, _seen(x), row, *self._conditions(x, given)),)

    def draw(
        self,
        above: Tensor,
        x: Tensor,
        step: Tensor,
        left: Tensor,
        u: Tensor,
        temperature: Tensor,
        *given: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The image with pixel `step` in raster order drawn, and the column left after it.

        Shapes: above (B, R, W, C), x (B, K, H, W), step (B,), left (B, Q, C), u (B, K H W) in
        [0, 1), temperature (B,) -> x, left.
        """
        _, num_colours, height, width = x.shape
        h, left = self.net.pixel(
            above, left, _seen(x), step // width, step % width, *self._conditions(x, given)
        )
        at = step[:, None, None].expand(-1, num_colours, 1)
        for colour in range(num_colours):
            pixel = _seen(x).flatten(2).gather(2, at).squeeze(2)
            place = step[:, None] + colour * height * width
            params = self.net.head(h, pixel)[:, colour]
            level = self.output.sample(params, u.gather(1, place).squeeze(1), temperature)
            value = self.grid.values(level)[:, None].to(x.dtype)
            x = x.flatten(1).scatter(1, place, value).view_as(x)
        return x, left

    def sampler(self, x: Tensor, given: Mapping[str, Tensor]) -> dict[str, Graph]:
        """Graphs "row" and "pixel", the halves of a sampler's step, with examples of 2 rows.

        Shapes: x (2, K, H, W).
        """
        above, left = self.net.empty(2)
        row = {"above": above, "x": x, "step": torch.zeros(2, dtype=torch.int64)}
        pixel = {**row, "left": left, "u": x.flatten(1), "temperature": torch.ones(2)}
        return {
            "row": graph(self.begin_row, {**row, **given}, "above_after"),
            "pixel": graph(self.draw, {**pixel, **given}, "x_after", "left_after"),
        }

    def _conditions(self, x: Tensor, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The label, -1 for a network without classes, and the feature maps."""
        if self.net.input.label is not None:
            return given
        return (torch.full((x.shape[0],), -1, device=x.device), *given)


def graph(
    function: Callable[..., tuple[Tensor, ...]], inputs: Mapping[str, Tensor], *outputs: str
) -> Graph:
    """A graph of a function, with an example of every input by its name."""
    return Graph(function, tuple(inputs), outputs, tuple(inputs.values()))


def _seen(x: Tensor) -> Tensor:
    """Levels as the network takes them. Shapes: (B, K, H, W) in [0, 1] -> the same in [-1, 1]."""
    return 2 * x - 1
