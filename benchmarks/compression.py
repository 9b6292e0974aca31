"""Compressed sizes and speeds of the shipped models against image formats, on the same images.

Writes the table and the plot of docs/compression.md.
"""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.table import Table
from torch import Tensor

from benchmarks.image_formats import Format, formats
from models.core.bundle.bundle import Bundle, load
from models.core.coding.codec import SEGMENT
from models.core.contract.likelihood import bits_per_dim
from models.core.contract.model import Servable
from models.core.contract.operation import NoParams, Operation, run
from models.core.contract.rows import Rows, concat, num_rows
from training.data.splits import load_test
from training.measure.calibrate import columns

ROOT = Path(__file__).parents[1]
PAGE, PLOT = ROOT / "docs" / "compression.md", ROOT / "docs" / "compression.png"
_SAMPLES = {"mnist": "mnist_test_500.npz", "fashion-mnist": "fashion-mnist_test_1000.npz"}
_NUM_IMAGES = 128


class Measured(NamedTuple):
    """One way to compress one set of images."""

    images: str
    name: str
    alone: float
    """Bits a dimension, every image by itself."""
    together: float
    """Bits a dimension with SEGMENT images in one piece."""
    in_s: float
    """Seconds of one core per image, in pieces of SEGMENT."""
    out_s: float
    num_dims: int
    wrong: int
    """Pixels that did not come back."""
    nll: float = float("nan")
    """What the model's own likelihood says, bits a dimension."""


def measure() -> Table:
    """The first test images; writes the page in docs/."""
    measured = sorted(_measured(_NUM_IMAGES), key=lambda one: one.images)
    _write_page(measured)
    return _table(measured)


def measure_all() -> Table:
    """All test images of every set, by the models only: is every single pixel right?"""
    return _table([m for m in _measured(None) if m.nll == m.nll])


@torch.no_grad()
def _measured(num: int | None) -> Iterator[Measured]:
    torch.set_num_threads(1)
    shown = set()
    for path in sorted((ROOT / "bundles").iterdir()):
        bundle = load(path)
        model = bundle.build()
        if "compress" not in model.operations() or model.grid is None:
            continue
        images, x = _images(bundle, num)
        if images not in shown and num is not None:
            shown.add(images)
            yield from _by_formats(images, model.grid.levels(x)[:, 0].byte().numpy(), model)
        yield _by_model(images, bundle.name, model, x)


def _images(bundle: Bundle, num: int | None) -> tuple[str, Tensor]:
    """Name and test images (N, 1, H, W), whole segments of them."""
    form, name = bundle.preprocessing, bundle.name.partition("_")[2]
    assert form is not None
    source = name.removesuffix("-binary")
    if num is not None and source in _SAMPLES:
        levels = form.to_levels(np.load(ROOT / "tests" / "data" / _SAMPLES[source])["x"])
    else:
        levels = load_test(source, height=form.height, width=form.width, levels=form.levels).x
    kept = len(levels) if num is None else min(num, len(levels))
    return name, torch.from_numpy(levels[: kept // SEGMENT * SEGMENT]).float() / 255


def _by_formats(images: str, levels: np.ndarray, model: Servable) -> Iterator[Measured]:
    assert model.grid is not None
    for each in formats(model.grid.num_levels):
        yield _by_format(images, levels, each, model.num_dims)


def _by_format(images: str, levels: np.ndarray, each: Format, num_dims: int) -> Measured:
    num_pixels, sheets = levels.size, levels.reshape(-1, SEGMENT * levels.shape[1], levels.shape[2])
    alone = sum(len(each.encode(image)) for image in levels)
    codes, in_s = _timed(lambda: [each.encode(sheet) for sheet in sheets])
    decoded, out_s = _timed(lambda: [each.decode(code) for code in codes])
    size = sheets[0].size
    restored = np.stack([part.reshape(-1)[:size] for part in decoded])
    return Measured(
        images,
        each.name,
        8 * alone / num_pixels,
        8 * sum(map(len, codes)) / num_pixels,
        in_s / len(levels),
        out_s / len(levels),
        num_dims,
        int((restored != sheets.reshape(-1, size)).sum()),
    )


def _by_model(images: str, name: str, model: Servable, x: Tensor) -> Measured:
    assert model.grid is not None
    operations, num = model.operations(), len(x)
    segments = x.view(-1, SEGMENT, *model.event_shape)
    rows = {"x": segments, "num_images": torch.full((len(segments),), SEGMENT)}
    ones = {
        "x": x[:, None].expand(-1, SEGMENT, *model.event_shape),
        "num_images": torch.ones(num, dtype=torch.int64),
    }
    run(operations["compress"], {k: c[:1] for k, c in rows.items()}, NoParams())
    alone = _in_parts(operations["compress"], ones)
    codes, in_s = _timed(lambda: _in_parts(operations["compress"], rows))
    asked: Rows = {**codes, "num_images": rows["num_images"]}
    restored, out_s = _timed(lambda: _in_parts(operations["decompress"], asked))
    log_prob = columns(model, "log_likelihood", (x * 255).round().byte().numpy())["log_prob"]
    num_pixels = num * model.num_dims
    return Measured(
        images,
        name,
        8 * float(alone["num_bytes"].sum()) / num_pixels,
        8 * float(codes["num_bytes"].sum()) / num_pixels,
        in_s / num,
        out_s / num,
        model.num_dims,
        int((model.grid.levels(restored["x"]) != model.grid.levels(segments)).sum()),
        float(bits_per_dim(log_prob.double().mean(), model.num_dims)),
    )


def _in_parts(operation: Operation[Any], rows: Rows) -> Rows:
    """The results of 8 rows at a time: 10,000 images at once do not fit."""
    starts = range(0, num_rows(rows), 8)
    parts = ({name: column[i : i + 8] for name, column in rows.items()} for i in starts)
    return concat([run(operation, part, NoParams()) for part in parts])


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the processor seconds that it took."""
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


_COLUMNS = (
    "images",
    "by",
    "bits/dim, one image",
    f"bits/dim, {SEGMENT} in one piece",
    "own NLL, bits/dim",
    "images/s in",
    "MB/s in",
    "images/s out",
    "MB/s out",
    "wrong pixels",
)


def _cells(m: Measured) -> list[str]:
    nll = f"{m.nll:.4f}" if m.nll == m.nll else ""
    speeds = [
        figure
        for seconds in (m.in_s, m.out_s)
        for figure in (f"{1 / seconds:,.0f}", f"{m.num_dims / seconds / 1e6:.3g}")
    ]
    return [m.images, m.name, f"{m.alone:.4f}", f"{m.together:.4f}", nll, *speeds, str(m.wrong)]


def _table(measured: list[Measured]) -> Table:
    table = Table(*_COLUMNS)
    for one in measured:
        table.add_row(*_cells(one))
    return table


def _write_page(measured: list[Measured]) -> None:
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_cells, measured)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    text = PAGE.read_text(encoding="utf-8")
    mark = "<!-- {} of what make bench writes -->"
    begin, end = mark.format("beginning"), mark.format("end")
    new, num = re.subn(f"{begin}.*{end}", f"{begin}\n{table}\n{end}", text, flags=re.DOTALL)
    assert num == 1, f"{PAGE} has lost its marks"
    PAGE.write_text(new, encoding="utf-8")
    sets = list(dict.fromkeys(one.images for one in measured))
    figure = Figure(figsize=(9, 2.6 * len(sets)), layout="constrained")
    for axes, images in zip(figure.subplots(len(sets), squeeze=False)[:, 0], sets, strict=True):
        shown = sorted((m for m in measured if m.images == images), key=lambda m: -m.together)
        colours = ["tab:blue" if m.nll == m.nll else "silver" for m in shown]
        bars = axes.barh([m.name for m in shown], [m.together for m in shown], color=colours)
        axes.bar_label(bars, fmt="%.3f", padding=3)
        axes.set_title(f"{images}: bits a dimension, {SEGMENT} images in one piece")
        axes.margins(x=0.1)
    figure.savefig(PLOT, dpi=100)
