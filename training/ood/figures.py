"""Pictures of a screen's report: the sets themselves, histograms of scores, and ROC curves."""

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_curve

from training.ood.evaluation import Evaluation, Row, Shown

matplotlib.use("Agg")
_OWN, _STRANGE = "#8a8f98", "#c2410c"
_COLUMNS = 4
_LINES = ("--", ":")
"""Of the thresholds of alphas, in their order."""
_LEAST_RATE = 1e-3


def pictures(evaluation: Evaluation, shown: Mapping[str, Shown]) -> dict[str, bytes]:
    """PNG files by name."""
    return {
        "ood_sets.png": _sets(evaluation, shown),
        "ood_histograms.png": _histograms(evaluation, shown),
        "ood_roc.png": _curves(evaluation, shown),
    }


def _lines(alphas: Sequence[float]) -> str:
    """Which line is which alpha."""
    kinds = zip(alphas, ("dashed", "dotted"), strict=False)
    return " and ".join(f"{alpha} ({kind})" for alpha, kind in kinds)


def _sets(evaluation: Evaluation, shown: Mapping[str, Shown]) -> bytes:
    """The first images of every set, as the model gets them, a row each."""
    names = [evaluation.dataset, *(row.name for row in evaluation.rows)]
    figure, axes = plt.subplots(len(names), figsize=(7, 0.62 * len(names)), squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        x = shown[name].images.transpose(0, 2, 3, 1)
        axis.imshow(_strip(x).squeeze(), cmap="gray", vmin=0, vmax=255, aspect="equal")
        axis.set_anchor("W")
        axis.set_axis_off()
        axis.text(-0.01, 0.5, name, transform=axis.transAxes, ha="right", va="center", fontsize=9)
    figure.subplots_adjust(left=0.24, right=0.99, top=0.998, bottom=0.002, hspace=0.06)
    return _png(figure)


def _strip(x: np.ndarray, num: int = 10) -> np.ndarray:
    """Images beside one another on grey. Shapes: (N, H, W, C) -> (H, W', C)."""
    height, width, channels = x.shape[1:]
    canvas = np.full((height, num * (width + 2) - 2, channels), 200, np.uint8)
    for i, image in enumerate(x[:num]):
        canvas[:, i * (width + 2) : i * (width + 2) + width] = image
    return canvas


def _histograms(evaluation: Evaluation, shown: Mapping[str, Shown]) -> bytes:
    """Scores of each set before those of the own test split; one axis for all."""
    own = _finite(shown[evaluation.dataset].scores)
    # Strangers may lie so far out that nothing else could be seen: the end bins hold the rest.
    bottom, top = np.quantile(own, (0.002, 0.998))
    low, high = bottom - 0.7 * (top - bottom), top + 1.5 * (top - bottom)
    figure, axes = _panels(len(evaluation.rows), 2.0)
    for axis, row in zip(axes, evaluation.rows, strict=False):
        for values, colour in ((own, _OWN), (_finite(shown[row.name].scores), _STRANGE)):
            weights = np.full(len(values), 1 / len(values))
            limits = float(low), float(high)
            axis.hist(
                values.clip(*limits),
                bins=60,
                range=limits,
                weights=weights,
                alpha=0.6,
                color=colour,
            )
        for alpha, line in zip(evaluation.alphas, _LINES, strict=False):
            axis.axvline(
                evaluation.thresholds[str(alpha)], color="black", linestyle=line, linewidth=1
            )
        axis.set_title(row.name, fontsize=9, loc="left")
        axis.set_yticks([])
        axis.set_xlim(low, high)
        axis.tick_params(labelsize=7)
    figure.suptitle(
        f"{evaluation.default_score} ({evaluation.unit}), higher = stranger\n"
        f"grey: {evaluation.dataset}, test split; red: the set; thresholds of p <= "
        f"{_lines(evaluation.alphas)};\nthe end bins hold what lies beyond",
        fontsize=9,
        ha="left",
        x=0.02,
    )
    figure.tight_layout()
    return _png(figure)


def _curves(evaluation: Evaluation, shown: Mapping[str, Shown]) -> bytes:
    """Share caught against share of own images flagged, on a logarithmic axis."""
    own = _finite(shown[evaluation.dataset].scores)
    rows = [row for row in evaluation.rows if row.caught]
    figure, axes = _panels(len(rows), 2.1)
    for axis, row in zip(axes, rows, strict=False):
        _curve(axis, row, own, _finite(shown[row.name].scores), evaluation.alphas)
    figure.suptitle(
        f"share of the set that is caught (up) at a share of {evaluation.dataset} flagged (right, "
        f"logarithmic)\ngrey: chance; vertical lines: {_lines(evaluation.alphas)}",
        fontsize=9,
        ha="left",
        x=0.02,
    )
    figure.tight_layout()
    return _png(figure)


def _curve(
    axis: Axes, row: Row, own: np.ndarray, strange: np.ndarray, alphas: Sequence[float]
) -> None:
    assert row.caught is not None
    truth = np.repeat([0, 1], [len(own), len(strange)])
    flagged, caught, _ = roc_curve(truth, np.concatenate([own, strange]), drop_intermediate=False)
    # A set whose images are all alike has one step; the line between is no operating point.
    axis.step(flagged.clip(_LEAST_RATE), caught, where="post", color=_STRANGE, linewidth=1.3)
    chance = np.geomspace(_LEAST_RATE, 1, 100)
    axis.plot(chance, chance, color=_OWN, linewidth=0.8)
    for alpha, line in zip(alphas, _LINES, strict=False):
        axis.axvline(alpha, color="black", linestyle=line, linewidth=0.7)
    axis.set_xscale("log")
    axis.set_xlim(_LEAST_RATE, 1)
    axis.set_ylim(-0.03, 1.03)
    axis.tick_params(labelsize=7)
    axis.set_title(f"{row.name}: AUROC {row.caught.auroc:.3f}", fontsize=8, loc="left")


def _panels(num: int, height: float) -> tuple[Figure, list[Axes]]:
    lines = max(1, math.ceil(num / _COLUMNS))
    figure, axes = plt.subplots(lines, _COLUMNS, figsize=(11, height * lines + 0.9), squeeze=False)
    for axis in axes.flat[num:]:
        axis.set_axis_off()
    return figure, list(axes.flat)


def _finite(scores: np.ndarray) -> np.ndarray:
    """NaN is strangest, and both infinities have a place in a picture."""
    return np.nan_to_num(scores.astype(np.float64), nan=1e30, posinf=1e30, neginf=-1e30)


def _png(figure: Figure) -> bytes:
    """In 256 colours, which is a third of the bytes."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(256).save(file, "PNG", optimize=True)
    return file.getvalue()
