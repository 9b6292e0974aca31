"""Sampling from a PixelCNN with cached activations against a whole forward pass for every pixel."""

import time
from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction
from models.core.contract.noise import row_seeds
from models.core.contract.rows import Rows
from models.pixelcnn import Config, Model
from training.export import export

_SIZES = (1, 16)
_GRAPHS = ("row", "pixel")
_CONFIG = Config(
    event_shape=(1, 28, 28),
    num_levels=2,
    output="bernoulli",
    num_classes=0,
    coordinates=False,
    channels=32,
    num_layers=8,
    dilations=(1,),
    input_kernel_size=7,
    head_channels=64,
)


def run() -> Table:
    """Milliseconds a pixel of every sampler, and the naive one's time over each.

    Processor time of one thread, the least of a few interleaved turns: an image row (28 pixels)
    of the cached samplers, a few pixels of the naive one, whose pixels all cost the same.
    """
    torch.set_num_threads(1)
    model = Model(_CONFIG).eval().requires_grad_(False)
    exported = {name: OnnxFunction(export(model.graphs()[name]), 1) for name in _GRAPHS}
    table = Table("rows", "sampler", "ms a pixel", "naive / this", "s an image")
    for size in _SIZES:
        times = _times(model, exported, size)
        for name, ms in times.items():
            numbers = (
                f"{ms:.3f}",
                f"{times['naive'] / ms:.1f}",
                f"{ms * model.num_dims / 1e3:.2f}",
            )
            table.add_row(str(size), name, *numbers)
    return table


@torch.no_grad()
def _times(model: Model, exported: dict[str, OnnxFunction], size: int) -> dict[str, float]:
    operation = model.operations()["sample"]
    rows = operation.init({"seed": row_seeds(0, size)}, operation.default_params)
    width = model.event_shape[2]

    def cached() -> None:
        state = rows
        for _ in range(width):
            state = operation.step(state)

    def by_onnx() -> None:
        for name, function in exported.items():
            model.use(name, function)
        cached()
        for name in exported:
            model.use(name, None)

    num_naive = 16 // size
    samplers: dict[str, tuple[Callable[[], object], int]] = {
        "naive": (lambda: _naive(model, rows, num_naive), num_naive),
        "cached": (cached, width),
        "cached, onnx": (by_onnx, width),
    }
    times = dict.fromkeys(samplers, float("inf"))
    for _ in range(9):
        for name, (function, num_pixels) in samplers.items():
            start = time.process_time()
            function()
            spent_ms = 1000 * (time.process_time() - start) / num_pixels
            times[name] = min(times[name], spent_ms)
    return times


def _naive(model: Model, rows: Rows, num_pixels: int) -> Tensor:
    """The first pixels, as one would write it without a cache."""
    x, width = rows["x"].clone(), model.event_shape[2]
    label = torch.full((x.shape[0],), -1)
    for place in range(num_pixels):
        row, column = divmod(place, width)
        params = model.net(2 * x - 1, label)[:, 0, row, column]
        level = model.output.sample(params, rows["u"][:, place], rows["temperature"])
        x[:, 0, row, column] = model.grid.values(level)
    return x
