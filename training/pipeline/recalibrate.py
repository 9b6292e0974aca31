"""A bundle's calibration made anew from a user's own in-distribution images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models.core.bundle.bundle import Bundle
from models.core.bundle.onnx import served
from training.data.copies import copies_of
from training.data.folder import pictures_below, pictures_of
from training.data.readers import DataError
from training.data.splits import Split
from training.measure.calibrate import calibrate
from training.pipeline import data_checks
from training.pipeline.make_screen import recalibrated

_LEAST_FITTED = 100
"""Images to fit references and z-values to: of fewer, quantiles say little."""


def num_needed(alpha: float) -> int:
    """The fewest images that make p-values as small as alpha possible, in both halves together.

    Raises ValueError if alpha is no rate.
    """
    return 2 * max(data_checks.num_needed(alpha), _LEAST_FITTED)


def new_name(bundle: Bundle, folder: Path, name: str = "") -> str:
    """That of the calibrated bundle: the wanted one, or both parts of what it is made of."""
    return name or f"{bundle.name}-{folder.resolve().name}"


def recalibrate(
    bundle: Bundle,
    folder: Path,
    *,
    name: str = "",
    alpha: float = 0.05,
    seed: int = 0,
    advance: Callable[[str, int], None] = lambda _name, _num: None,
) -> Bundle:
    """The bundle, calibrated on the images of a folder, flat or a folder per class.

    A random half, drawn by the seed, fits what the scores compare with; the other half's scores
    become the calibration. Raises DataError for a broken image or too few, ValueError if the bundle
    has no scores of images.
    """
    form, num = bundle.preprocessing, num_needed(alpha)
    if form is None or not bundle.calibrations:
        raise ValueError(f"{bundle.name} has no calibrated score of images")
    pictures = pictures_below(folder)
    if len(pictures) < num:
        raise DataError(
            f"{folder} holds {len(pictures):,} pictures: alpha {alpha:g} needs at least {num:,}, "
            "half to fit the scores and half to calibrate them"
        )
    advance("looking for copies among", len(pictures))
    files = _distinct(pictures, folder, num)
    num_copies = len(pictures) - len(files)
    order = np.random.RandomState(seed).permutation(len(files))
    advance("reading", len(files))
    x = pictures_of([files[i] for i in order], form)
    first, second = x[: len(x) // 2], x[len(x) // 2 :]
    advance("scoring", len(x))
    if bundle.kind == "screen":
        calibrated = recalibrated(bundle, first, second)
    else:
        names = tuple(bundle.calibrations)
        calibrations = calibrate(served(bundle), names, _unlabelled(second), _unlabelled(first))
        calibrated = replace(bundle, calibrations=calibrations)
    title = folder.resolve().name
    return replace(
        calibrated,
        name=new_name(bundle, folder, name),
        calibration_source=f"{len(second):,} images of the folder {title}",
        metrics={},
        provenance={
            **bundle.provenance,
            "recalibrated_from": f"{bundle.name}@{bundle.version}",
            "recalibrated_on": f"{title}: {len(first):,} images fit the scores, {len(second):,} "
            f"others calibrate them, halves drawn with seed {seed}; {num_copies:,} copies, exact "
            "or near, were left out",
            "recalibrated_date": datetime.now(UTC).date().isoformat(),
        },
    )


def _distinct(pictures: Sequence[Path], folder: Path, num: int) -> list[Path]:
    """The pictures without copies, which would promise what no other image keeps.

    Raises DataError for fewer than `num`.
    """
    first = copies_of(pictures)
    distinct = [path for i, path in enumerate(pictures) if first[i] == i]
    if len(distinct) < num:
        raise DataError(
            f"{folder} holds {len(distinct):,} different pictures among {len(pictures):,}: at "
            f"least {num:,} must differ"
        )
    return distinct


def _unlabelled(x: np.ndarray) -> Split:
    return Split(x, np.zeros(len(x), np.int64))


def card(bundle: Bundle, scores: Sequence[str]) -> str:
    """A short README for the new bundle; the old one's figures do not hold for it."""
    about = bundle.provenance
    return (
        f"# {bundle.name}\n\n"
        f"The weights of {about['recalibrated_from']}, calibrated for other images.\n\n"
        f"- calibration: {bundle.calibration_source}\n"
        f"- how: {about['recalibrated_on']}\n"
        f"- date: {about['recalibrated_date']}\n"
        f"- scores: {', '.join(scores)}\n\n"
        "False alarms and what is caught have not been measured on these images.\n"
    )
