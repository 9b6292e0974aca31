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

SPLITS = ("train", "validation", "calibration", "test")
_SPLIT_SEED = 20240229
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


def split_rows(raw: Raw, name: str) -> dict[str, np.ndarray]:
    """Row numbers of each split, int64, in a fixed random order. Raises DataError if one is empty.

    With an official test part: a twelfth of the rest is validation, if that is not official too, a
    twelfth calibration. Without: 15 % test, 7.5 % validation, 7.5 % calibration. Whole groups where
    there are any; a split then has at most its share.
    """
    num_rows = len(raw.y)
    parts = {"test": raw.is_test, "validation": raw.is_validation}
    official = {part: rows for part, rows in parts.items() if rows is not None}
    pool = np.flatnonzero(~np.any([np.zeros(num_rows, bool), *official.values()], axis=0))
    num_pool = len(pool)
    if raw.is_test is None:
        sizes = [num_pool * 15 // 100, num_pool * 75 // 1000, num_pool * 75 // 1000]
        names = ["test", "validation", "calibration", "train"]
    else:
        names = [part for part in ("validation", "calibration", "train") if part not in official]
        sizes = [num_pool // 12] * (len(names) - 1)
    # RandomState, since its numbers are frozen: a Generator's may change with NumPy.
    random = np.random.RandomState(_SPLIT_SEED)
    group = np.arange(num_rows) if raw.group is None else raw.group
    order = random.permutation(np.unique(group[pool]))
    place = {int(value): position for position, value in enumerate(order)}
    by_group = pool[np.argsort([place[int(value)] for value in group[pool]], kind="stable")]
    ends = np.cumsum(np.bincount([place[int(value)] for value in group[pool]]))
    cuts = [0, *(int(ends[ends <= size].max(initial=0)) for size in np.cumsum(sizes)), num_pool]
    rows = {
        part: random.permutation(by_group[start:stop])
        for part, start, stop in zip(names, cuts[:-1], cuts[1:], strict=True)
    }
    for part, is_part in official.items():
        rows[part] = random.permutation(np.flatnonzero(is_part))
    empty = [part for part in SPLITS if len(rows[part]) == 0]
    if empty:
        raise DataError(f"{name} has only {num_rows} images: none are left for {empty[0]}")
    return {part: rows[part] for part in SPLITS}


def _read(source: str) -> tuple[Raw, str, str]:
    named = SOURCES.get(source)
    if named is not None:
        return named.read(tuple(fetch(file) for file in named.files)), named.about, named.group
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise DataError(f"{source} is neither a folder nor one of {', '.join(SOURCES)}")
    return raw_folder(folder), f"images of the folder {folder.name}", ""


def _fingerprint(source: str, raw: Raw, rows: Mapping[str, np.ndarray]) -> Fingerprint:
    """Files of a named set are known by their sha256; a folder's are looked at."""
    if isinstance(raw.images, np.ndarray):
        return {file.path: f"all {file.sha256}" for file in SOURCES[source].files}
    return of_pictures(Path(source).expanduser(), raw.images, rows)


def _rule(raw: Raw, group: str) -> str:
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
    console = Console(stderr=True)
    hidden = len(rows) < _LONG or not console.is_terminal
    bar = track(rows, title, console=console, transient=True, disable=hidden)
    for i, row in enumerate(bar):
        if isinstance(images, np.ndarray):
            x[i] = to.apply(Image.fromarray(images[row]))[0]
        else:
            x[i] = picture_of(images[row], to)
    return x
