"""Pictures for people: energies with the threshold drawn, sample grids, a trajectory."""

import csv
import io
import math
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from models.core.calibration.conformal import Calibration
from models.core.contract.grid import quantise
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.ood.register import SCORES
from training.data.splits import Dataset
from training.measure import latents, plane
from training.measure.own_figures import own_pictures
from training.measure.test_split import ALPHA, Scored

matplotlib.use("Agg")
_SHOWN = 2000  # events of a set in a histogram


def histogram(name: str, calibration: Calibration, scored: Scored, own: str) -> bytes:
    """Scores of the test split and of the other sets, with the threshold at ALPHA; a PNG."""
    sets = {f"{own} (test)": scored.own, **scored.others}
    values = {title: scores[:_SHOWN].numpy() for title, scores in sets.items()}
    # Strangers may lie so far out that nothing else could be seen: the end bins hold the rest.
    bottom, top = np.quantile(next(iter(values.values())), (0.002, 0.998))
    every = np.concatenate(list(values.values()))
    low = max(float(np.quantile(every, 0.002)), bottom - 4 * (top - bottom))
    high = min(float(np.quantile(every, 0.998)), top + 4 * (top - bottom))
    figure, axes = plt.subplots(figsize=(7.5, 4))
    for title, value in values.items():
        axes.hist(
            value.clip(low, high), bins=80, range=(low, high), density=True, alpha=0.5, label=title
        )
    threshold = calibration.threshold(ALPHA)
    axes.axvline(threshold, color="black", linestyle="--", label=f"threshold, alpha {ALPHA}")
    axes.set_xlabel(f"{name} ({SCORES[name].unit}); higher = stranger")
    axes.set_ylabel("density")
    axes.legend()
    return _png(figure)


def samples(model: GenerativeModel, data: Dataset) -> dict[str, bytes]:
    """The pictures of samples, by file name: grids of images and how they came about, or a
    plot."""
    if model.event_shape == (2,):
        return {"samples.png": _png(plane.picture(model, data))}
    if len(model.event_shape) != 3:
        return {"samples.png": pairs(model, data)}
    pictures = {"samples.png": sample_grid(model), **own_pictures(model, data.splits["test"])}
    for name, x in latents.pictures(model, data.splits["test"]).items():
        pictures[name] = grid(x, 10)
    operation = model.operations()["sample"]
    if operation.num_steps(operation.default_params) > 1 and not operation.stops_early:
        pictures["report/trajectory.png"] = trajectory(model)
    return pictures


def pairs(model: GenerativeModel, data: Dataset, num_rows: int = 300) -> bytes:
    """Samples beside test rows along the principal axes of the train split; a PNG."""
    operation = model.operations()["sample"]
    with torch.no_grad():
        inputs = {"seed": row_seeds(0, num_rows)}
        drawn = run(operation, inputs, operation.default_params)["x"].double().numpy()
    train = data.splits["train"].x.astype(np.float64)
    mean, std = train.mean(0), train.std(0) + 1e-9
    _, _, axes_of = np.linalg.svd((train - mean) / std, full_matrices=False)
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.2))
    for axes, (first, second) in zip(panels, ((0, 1), (2, 3)), strict=True):
        for title, x in (("test rows", data.splits["test"].x), ("samples", drawn)):
            place = (x[:num_rows] - mean) / std @ axes_of[[first, second]].T
            axes.scatter(*place.T, s=9, alpha=0.6, label=title)
        axes.set_xlabel(f"principal axis {first + 1}")
        axes.set_ylabel(f"principal axis {second + 1}")
    panels[0].legend()
    return _png(figure)


def sample_grid(model: GenerativeModel, per_class: int = 10, seed: int = 0) -> bytes:
    """Samples of the default settings, a row per class (or ten rows without classes); a PNG."""
    rows = model.num_classes or 10
    label = torch.arange(rows).repeat_interleave(per_class)
    inputs = {"seed": row_seeds(seed, len(label))}
    operation = model.operations()["sample"]
    if operation.takes_label and model.num_classes:
        inputs["label"] = label
    with torch.no_grad():
        x = run(operation, inputs, operation.default_params)["x"]
    return grid(x, per_class)


def trajectory(model: GenerativeModel, num_frames: int = 8, num_rows: int = 6) -> bytes:
    """Chains of the default settings, start to sample, at `num_frames` even steps; a PNG."""
    operation = model.operations()["sample"]
    params = operation.default_params
    inputs = {"seed": row_seeds(7, num_rows)}
    if operation.takes_label and model.num_classes:
        inputs["label"] = torch.arange(num_rows) * model.num_classes // num_rows
    keep = np.linspace(0, operation.num_steps(params), num_frames).round().astype(int)
    frames = []
    with torch.no_grad():
        rows = operation.init(inputs, params)
        for i in range(operation.num_steps(params) + 1):
            if i in keep:
                seen = operation.preview(rows)
                assert seen is not None, "an operation of many steps shows what it makes"
                frames.append(seen.clone())
            if i < operation.num_steps(params):
                rows = operation.step(rows)
    return grid(torch.stack(frames, 1).flatten(0, 1), num_frames)


def curves(log: Path) -> bytes | None:
    """The training log as curves, a panel each; a PNG, or None if there is no log."""
    if not log.exists():
        return None
    with log.open() as file:
        table = list(csv.DictReader(file))
    names = [n for n in table[0] if n not in ("step", "epoch")]
    figure, panels = plt.subplots(1, len(names), figsize=(3.6 * len(names), 3), squeeze=False)
    for axes, name in zip(panels[0], names, strict=True):
        points = [(int(row["step"]), float(row[name])) for row in table if row[name]]
        axes.plot(*zip(*points, strict=True), linewidth=0.7)
        axes.set_title(name)
        axes.set_xlabel("step")
    return _png(figure)


def grid(x: Tensor, num_columns: int, scale: int | None = None) -> bytes:
    """Events in [0, 1] side by side, enlarged for the eye. Shapes: (B, C, H, W) -> a PNG."""
    pixels = quantise(x).numpy()
    num, channels, height, width = pixels.shape
    scale = scale or max(1, 56 // height)
    num_rows = math.ceil(num / num_columns)
    sheet = np.full(
        (num_rows * (height + 1) + 1, num_columns * (width + 1) + 1, channels), 128, np.uint8
    )
    for i, image in enumerate(pixels):
        top, left = 1 + i // num_columns * (height + 1), 1 + i % num_columns * (width + 1)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    picture = Image.fromarray(sheet.squeeze(2) if channels == 1 else sheet)
    picture = picture.resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=90)
    plt.close(figure)
    return buffer.getvalue()
