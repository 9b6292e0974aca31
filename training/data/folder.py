"""The pictures in a folder of a user's, flat or in folders, labelled or not."""

from pathlib import Path

import numpy as np

from models.core.bundle.preprocess import Preprocessing
from training.data.readers import BROKEN_IMAGE, SUFFIXES, DataError, open_image


def pictures_below(folder: Path) -> list[Path]:
    """Files that look like pictures, by relative path, so that the order is the same everywhere.

    Hidden files and folders are passed over, and so are files of other kinds. Raises DataError if
    the folder cannot be read or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    pictures = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not pictures:
        kinds = " ".join(sorted(SUFFIXES))
        raise DataError(f"{folder} holds no pictures: known kinds are {kinds}")
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def picture_of(path: Path, form: Preprocessing) -> np.ndarray:
    """A file as an upload of it would be seen: uint8 (C, H, W). Raises DataError."""
    image = open_image(path)
    if image.mode == "F":
        raise DataError(f"{path}: floating-point pixels have no stated range")
    try:
        return form.apply(image)[0]
    except BROKEN_IMAGE as error:
        raise DataError(f"{path}: {error}") from error


def pictures_of(paths: list[Path], form: Preprocessing) -> np.ndarray:
    """Files as uploads of them would be seen: uint8 (N, C, H, W). Raises DataError."""
    x = np.empty((len(paths), form.channels, form.height, form.width), np.uint8)
    for i, path in enumerate(paths):
        x[i] = picture_of(path, form)
    return x
