"""The image sets that a screen is tried on, each taken the way that an upload takes."""

import io
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.core.bundle.bundle import Bundle
from models.core.bundle.preprocess import Preprocessing
from models.core.picture.opened import open_picture
from training.data.copies import with_copies
from training.data.folder import pictures_below, pictures_of
from training.data.layout import raw_folder
from training.data.readers import DataError, Raw
from training.data.sources import SOURCES, fetch
from training.data.splits import Split, split_rows
from training.ood.probes import PROBES, Own, Part, Probe, dimmed, encoded

_GROUND: Mapping[str, int | None] = {
    "mnist": 0,
    "fashion-mnist": 0,
    "omniglot": 255,
    "fraktur-glyphs": 255,
    "cifar10": None,  # photographs: no ink, no ground
}
"""Grey level of the ground in each set of images, as published."""
_TURNED = ("mnist", "omniglot")
_DIMMED = ("mnist", "fashion-mnist")
_TINTED = ("mnist", "fashion-mnist")
_SEED = 20240229


@dataclass(frozen=True)
class ImageSet:
    """A set that a screen is shown; its images are made when they are asked for."""

    name: str
    part: Part
    about: str
    """How its images were had and converted."""
    make: Callable[[], np.ndarray]
    """uint8 (N, C, H, W), in the model's form. Raises DataError if the data cannot be had."""


class OwnData:
    """The data set that a model was trained on, in the model's form.

    Raises DataError if the set cannot be had or is no set of images.
    """

    def __init__(self, source: str, form: Preprocessing) -> None:
        self.source = source
        self.name = source if source in SOURCES else Path(source).name
        self.form = form
        self._raw = _read(source)
        self._rows = split_rows(self._raw, source)
        self.class_names = self._raw.class_names
        self.num_images = len(self._raw.y)
        self.is_named = source in SOURCES

    def split(self, name: str, limit: int) -> Split:
        """The first `limit` of a split; 0: all."""
        rows = self._rows[name][: limit or None]
        return Split(_rows(self._raw, rows, self.form), self._raw.y[rows])


def dataset_of(bundle: Bundle) -> str:
    """The named set, or the folder, that a bundle was trained on, by its provenance.

    Raises DataError if it does not say.
    """
    provenance = bundle.provenance
    if "recalibrated_from" in provenance:
        raise DataError(
            f"{bundle.name} is calibrated on {bundle.calibration_source}: name by --data a folder, "
            "with a folder per class, of such images that the calibration has not seen"
        )
    if "dataset_name" in provenance:
        return provenance["dataset_name"]
    for name, source in SOURCES.items():
        if provenance.get("dataset") == source.about:
            return name
    raise DataError(
        f"{bundle.name} does not say which data set it was trained on: name it by --data, as one "
        f"of {', '.join(_GROUND)} or as a folder with a folder per class"
    )


def panel(
    own: Split, name: str, form: Preprocessing, limit: int, folders: Mapping[str, Path]
) -> list[ImageSet]:
    """Every set but the model's own. Shapes: own.x (N, C, H, W), in the model's form."""
    return [
        *(_probe(probe, own, form) for probe in PROBES),
        *_others(name, form, limit),
        *(_folder(title, path, form, limit) for title, path in folders.items()),
    ]


def uploads(pictures: Iterable[Image.Image], form: Preprocessing) -> np.ndarray:
    """Pictures as the service would see them: encoded, decoded, preprocessed.

    Shapes: N pictures -> uint8 (N, C, H, W).
    """
    rows = []
    for picture in pictures:
        file = io.BytesIO()
        picture.save(file, "PNG")
        rows.append(form.read(open_picture(file.getvalue()))[0])
    if not rows:
        return np.empty((0, form.channels, form.height, form.width), np.uint8)
    return np.stack(rows)


def as_upload(x: np.ndarray, form: Preprocessing) -> np.ndarray:
    """Images of the model's form (perhaps of another size), by way of an upload that shows them.

    Shapes: uint8 (N, C, H', W') -> uint8 (N, C, H, W).
    """
    sent = 255 - x if form.invert else x
    return uploads((Image.open(io.BytesIO(encoded(pixels))) for pixels in sent), form)


def _probe(probe: Probe, own: Split, form: Preprocessing) -> ImageSet:
    def make() -> np.ndarray:
        # RandomState, since its numbers are frozen; every probe has its own.
        random = np.random.RandomState(zlib.crc32(probe.name.encode()))
        x = probe.make(Own(own.x, own.y, form.background, random))
        return as_upload(np.ascontiguousarray(x), form)

    return ImageSet(probe.name, probe.part, probe.about, make)


def _others(own: str, form: Preprocessing, limit: int) -> list[ImageSet]:
    """Other named sets, their ink as dark or bright as the model's images have it."""
    sets = []
    for name, ground in _GROUND.items():
        if name == own:
            continue
        wanted = 255 * (form.background >= 128)
        sent = 255 - wanted if form.invert else wanted
        turned = ground is not None and ground != sent
        how = "inverted to the model's polarity" if turned else "polarity as published"
        how = "photographs" if ground is None else how
        about = f"test split of {name}, {how}, {_size(form)}"
        fetched = partial(_named, name, form, limit, turned)
        sets.append(ImageSet(name, "held-out", about, fetched))
        if name in _TURNED:
            about = f"test split of {name}, against the model's polarity"
            opposite = partial(_named, name, form, limit, not turned)
            sets.append(ImageSet(f"{name}-inverted", "held-out", about, opposite))
        if name in _DIMMED and _first(_DIMMED, own) == name:
            about = f"{name} as above, half as far from the background"
            sets.append(ImageSet(f"{name}-dimmed", "held-out", about, partial(_dim, fetched, form)))
        if name in _TINTED and form.channels == 3:
            about = f"{name} as above, in one random colour an image"
            sets.append(ImageSet(f"{name}-tinted", "held-out", about, partial(_tint, fetched)))
    return sets


def _first(names: tuple[str, ...], own: str) -> str:
    return next(name for name in names if name != own)


def _dim(fetched: Callable[[], np.ndarray], form: Preprocessing) -> np.ndarray:
    return as_upload(dimmed(fetched(), form.background), form)


def _tint(fetched: Callable[[], np.ndarray]) -> np.ndarray:
    x = fetched()
    colour = np.random.RandomState(_SEED).uniform(0.2, 1, (len(x), 3, 1, 1))
    return np.rint(x * colour).astype(np.uint8)


def _named(name: str, form: Preprocessing, limit: int, turned: bool) -> np.ndarray:
    raw = _read(name)
    return _rows(raw, split_rows(raw, name)["test"][: limit or None], form, turned)


def _folder(title: str, path: Path, form: Preprocessing, limit: int) -> ImageSet:
    def make() -> np.ndarray:
        files = pictures_below(path)
        # A folder is often sorted by kind: without a shuffle the first would be of one kind.
        order = np.random.RandomState(_SEED).permutation(len(files))[: limit or None]
        return pictures_of([files[i] for i in order], form)

    about = f"images of the folder {path.name}, as found, {_size(form)}"
    return ImageSet(title, "held-out", about, make)


def _size(form: Preprocessing) -> str:
    colour = "colour" if form.channels == 3 else "grey"
    return f"fitted to {form.width}x{form.height}, {colour}"


def _read(source: str) -> Raw:
    named = SOURCES.get(source)
    if named is None:
        return with_copies(raw_folder(Path(source).expanduser()))
    raw = named.read(tuple(fetch(file) for file in named.files))
    if isinstance(raw.images, np.ndarray) and raw.images.ndim < 3:
        raise DataError(f"{source} is a set of vectors: screens are tried on sets of images")
    return raw


def _rows(raw: Raw, rows: np.ndarray, form: Preprocessing, turned: bool = False) -> np.ndarray:
    """Shapes: int (N,) -> uint8 (N, C, H, W). Pictures that are files are uploads as they are."""
    if not isinstance(raw.images, np.ndarray):
        return pictures_of([raw.images[row] for row in rows], form)
    pictures = map(Image.fromarray, raw.images[rows])
    return uploads(map(ImageOps.invert, pictures) if turned else pictures, form)
