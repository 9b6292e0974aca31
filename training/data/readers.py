"""Reads labelled images as files hold them: IDX, NPZ, zipped drawings, single pictures."""

import gzip
import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

SUFFIXES = frozenset(
    {
        ".bmp",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
    }
    | {".webp"}
)
_BROKEN = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError),
    *(zlib.error, zipfile.BadZipFile, struct.error),
)
_BROKEN_IMAGE = (*_BROKEN, SyntaxError, IndexError, Image.DecompressionBombError)


class DataError(ValueError):
    """A data file that is missing, broken or not what it should be; the message names it."""


@dataclass(frozen=True)
class Raw:
    """A labelled set before any conversion.

    `images` is uint8 (N, H, W) or (N, H, W, 3), or one path a picture, or, of a table, float
    (N, D); `y` is int64 (N,).
    """

    images: np.ndarray | tuple[Path, ...]
    y: np.ndarray
    class_names: tuple[str, ...]
    is_test: np.ndarray | None = None  # bool (N,): the official test part, where there is one
    group: np.ndarray | None = None  # int (N,): rows of one group stay in one split
    feature_names: tuple[str, ...] = ()  # of a table
    is_validation: np.ndarray | None = None  # bool (N,): as is_test, apart from it
    copies: np.ndarray | None = None  # int (N,): the row that each is a copy of, or its own


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped IDX file of bytes, uint8. Raises DataError."""
    try:
        content = gzip.decompress(path.read_bytes())
    except _BROKEN as error:
        raise _broken(path, "a whole gzip file", error) from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes: it begins with {content[:4]!r}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise DataError(f"{path} ends inside its header")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise DataError(f"{path} holds {len(content) - start} bytes of data, not {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an NPZ file, read without pickle. Raises DataError."""
    try:
        with path.open("rb") as opened:
            loaded = np.load(opened, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array")
            return {name: loaded[name] for name in loaded.files}
    except _BROKEN as error:
        raise _broken(path, "a whole NPZ file without pickles", error) from error


def raw_idx(paths: tuple[Path, ...], class_names: tuple[str, ...]) -> Raw:
    """Train images, train labels, test images, test labels, in that order. Raises DataError."""
    train, train_y, test, test_y = (read_idx(path) for path in paths)
    for path, images, y in ((paths[0], train, train_y), (paths[2], test, test_y)):
        _check(path, images, y, len(class_names))
    return _concat(train, train_y, test, test_y, class_names)


def raw_npz(paths: tuple[Path, ...], class_names: tuple[str, ...] = ()) -> Raw:
    """Train and test files with `x`, `y` and perhaps `classes`, `line`. Raises DataError."""
    train, test = (read_npz(path) for path in paths)
    for path, arrays in zip(paths, (train, test), strict=True):
        missing = {"x", "y"} - arrays.keys()
        if missing:
            raise DataError(f"{path} has no array {', '.join(sorted(missing))}")
        class_names = class_names or tuple(map(str, arrays.get("classes", ())))
        _check(path, arrays["x"], arrays["y"], len(class_names))
    group = None
    if "line" in train and "line" in test:
        group = np.concatenate([train["line"], test["line"]]).astype(np.int64)
    return _concat(train["x"], train["y"], test["x"], test["y"], class_names, group)


def raw_zip(paths: tuple[Path, ...]) -> Raw:
    """Pictures of one size in a zip; the class is the folder below the first. Raises DataError."""
    (path,) = paths
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".png"))
            images = [_gray(io.BytesIO(archive.read(name))) for name in names]
            x = np.stack(images)
    except _BROKEN_IMAGE as error:
        raise _broken(path, "a whole zip file of equal pictures", error) from error
    labels = ["/".join(PurePosixPath(name).parts[1:-1]) for name in names]
    class_names, y = np.unique(labels, return_inverse=True)
    return Raw(x, y.astype(np.int64), tuple(map(str, class_names)))


def _gray(file: io.BytesIO) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image.convert("L"))


def _check(path: Path, images: np.ndarray, y: np.ndarray, num_classes: int) -> None:
    if images.dtype != np.uint8 or not (images.ndim == 3 or images.shape[3:] == (3,)):
        raise DataError(f"{path} holds {images.dtype} {images.shape}, not uint8 (N, H, W[, 3])")
    if y.shape != images.shape[:1] or y.dtype.kind not in "iu":
        raise DataError(f"{path} and its labels do not match: {images.shape} and {y.shape}")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < num_classes:
        raise DataError(f"{path} has a label outside its {num_classes} classes")


def _concat(
    train: np.ndarray,
    train_y: np.ndarray,
    test: np.ndarray,
    test_y: np.ndarray,
    class_names: tuple[str, ...],
    group: np.ndarray | None = None,
) -> Raw:
    y = np.concatenate([train_y, test_y]).astype(np.int64)
    is_test = np.arange(len(y)) >= len(train)
    return Raw(np.concatenate([train, test]), y, class_names, is_test, group)


def _broken(path: Path, wanted: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is missing")
    return DataError(f"{path} is not {wanted}: {error}")
