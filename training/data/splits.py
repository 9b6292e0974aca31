"""Loads a data set as images of one size or as vectors, cut into four fixed, disjoint splits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from models.core.bundle.preprocess import Preprocessing
from training.data.copies import with_copies
from training.data.cut import SPLITS, split_rows
from training.data.fingerprint import Fingerprint, of_pictures
from training.data.folder import picture_of
from training.data.layout import raw_folder
from training.data.readers import DataError, Raw
from training.data.sources import SOURCES, fetch

__all__ = [
    "SPLITS",
    "DataError",
    "Dataset",
    "Split",
    "as_events",
    "load",
    "load_test",
    "split_rows",
]

_LONG = 5000  # images: above this a progress bar is shown


@dataclass(frozen=True)
class Split:
    """Events and labels in a fixed random order, so that the first n are a fair sample."""

    x: np.ndarray  # images uint8 (N, C, H, W), vectors float32 (N, D)
    y: np.ndarray  # int64 (N,)

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Dataset:
    """A labelled set: its classes, its four splits, where it came from and how it was cut."""

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]  # exactly SPLITS
    source: str
    split_rule: str
    feature_names: tuple[str, ...] = ()  # of vectors
    fingerprint: Fingerprint = field(default_factory=dict)
    """Which files it was read from; empty where it comes with a library."""


def as_events(x: np.ndarray) -> Tensor:
    """What models take: images in [0, 1], vectors as they are. Shapes: (N, ...) -> float32."""
    events = torch.from_numpy(x).float()
    return events / 255 if x.dtype == np.uint8 else events


def load(
    source: str,
    *,
    height: int = 0,
    width: int = 0,
    channels: int = 1,
    invert: bool = False,
    background: int = 0,
    levels: int = 256,
) -> Dataset:
    """A named set, or a folder with a folder per class, as images of the wanted size.

    Sets of vectors have no size and come as they are. The splits depend on the set alone, not on
    the size that is asked for. Raises DataError where a file is missing, broken or not what it
    should be.
    """
    raw, about, group = _read(source)
    preprocessing = Preprocessing(height, width, channels, invert, background, levels)
    rows_of = split_rows(raw, source)
    files = _fingerprint(source, raw, rows_of)
    splits = {
        name: Split(_convert(raw, rows, preprocessing, f"{source}: {name}"), raw.y[rows])
        for name, rows in rows_of.items()
    }
    title, rule = Path(source).name, _rule(raw, group)
    return Dataset(title, raw.class_names, splits, about, rule, raw.feature_names, files)


def load_test(
    source: str,
    *,
    height: int = 0,
    width: int = 0,
    channels: int = 1,
    invert: bool = False,
    background: int = 0,
    levels: int = 256,
    limit: int | None = None,
) -> Split:
    """The test split as `load` gives it, or its first `limit` rows; converts no others."""
    raw, _, _ = _read(source)
    rows = split_rows(raw, source)["test"][:limit]
    preprocessing = Preprocessing(height, width, channels, invert, background, levels)
    return Split(_convert(raw, rows, preprocessing, f"{source}: test"), raw.y[rows])


def _read(source: str) -> tuple[Raw, str, str]:
    named = SOURCES.get(source)
    if named is not None:
        return named.read(tuple(fetch(file) for file in named.files)), named.about, named.group
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise DataError(f"{source} is neither a folder nor one of {', '.join(SOURCES)}")
    return with_copies(raw_folder(folder)), f"images of the folder {folder.name}", ""


def _fingerprint(source: str, raw: Raw, rows: Mapping[str, np.ndarray]) -> Fingerprint:
    """Files of a named set are known by their sha256; a folder's are looked at."""
    if isinstance(raw.images, np.ndarray):
        return {file.path: f"all {file.sha256}" for file in SOURCES[source].files}
    return of_pictures(Path(source).expanduser(), raw.images, rows)


def _rule(raw: Raw, group: str) -> str:
    return _cut(raw, group) + _copies(raw)


def _copies(raw: Raw) -> str:
    """How many images are copies; empty of sets that are not looked through."""
    if raw.copies is None:
        return ""
    num = len(raw.copies) - len(np.unique(raw.copies))
    return (
        f"; {num:,} of {len(raw.copies):,} images are copies of others, exact or near (by a "
        "perceptual hash): they stand in one split and count once outside train"
    )


def _cut(raw: Raw, group: str) -> str:
    if raw.is_test is None:
        return "a fixed permutation: 70 % train, 7.5 % validation, 7.5 % calibration, 15 % test"
    whole = f", by whole {group}s" if group else ""
    if raw.is_validation is not None:
        return (
            "test and validation as found; the rest in a fixed permutation: 1/12 calibration, "
            f"11/12 train{whole}"
        )
    return (
        "test as published; the rest in a fixed permutation: 1/12 validation, 1/12 calibration, "
        f"10/12 train{whole}"
    )


def _convert(raw: Raw, rows: np.ndarray, to: Preprocessing, title: str) -> np.ndarray:
    """The events of these rows: uint8 (N, C, H, W), or float32 (N, D) where the set is a table."""
    images = raw.images
    if isinstance(images, np.ndarray) and images.ndim == 2:
        if to.height or to.width:
            raise DataError(f"{title}: a set of vectors has no height and no width")
        return images[rows].astype(np.float32)
    if not (to.height and to.width):
        raise DataError(f"{title}: a set of images needs a height and a width")
    if isinstance(images, np.ndarray) and not to.invert:
        if images.shape[1:] == (to.height, to.width) and to.channels == 1:
            return to.to_levels(images[rows][:, None])
        if images.shape[1:] == (to.height, to.width, to.channels):
            return to.to_levels(np.ascontiguousarray(images[rows].transpose(0, 3, 1, 2)))
    x = np.empty((len(rows), to.channels, to.height, to.width), np.uint8)
    console = Console(stderr=True, markup=False)
    hidden = len(rows) < _LONG or not console.is_terminal
    bar = track(rows, title, console=console, transient=True, disable=hidden)
    for i, row in enumerate(bar):
        if isinstance(images, np.ndarray):
            x[i] = to.apply(Image.fromarray(images[row]))[0]
        else:
            x[i] = picture_of(images[row], to)
    return x
