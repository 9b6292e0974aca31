"""The files in a folder of a user's, flat or in folders, labelled or not, and its pictures."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.core.bundle.preprocess import Preprocessing
from models.core.picture.container import UnreadablePicture
from models.core.picture.opened import FILE_FORMATS, open_picture
from training.data.readers import SUFFIXES, DataError

_UNSURE = frozenset({"", ".avif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".tga"})
"""Suffixes of files that are worth a look, and need not be pictures that can be read."""


@dataclass(frozen=True)
class Found:
    """A file, or a folder that was not entered."""

    path: Path
    skipped: str = ""
    """Why it is no picture to be read; empty where it may be one."""

    @property
    def is_picture(self) -> bool:
        """Whether its name says that it is a picture that can be read."""
        return not self.skipped and self.path.suffix.lower() in SUFFIXES


def files_below(folder: Path) -> list[Found]:
    """Every file by relative path, so that the order is the same everywhere; links are followed.

    Hidden files and folders, what is no file, and files whose suffix is none of a picture are
    skipped, and say so. A linked folder that has been entered already is not entered again. Raises
    DataError for what is no folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    files, links, entered = list[Found](), [folder], set[str]()
    while links:  # folders themselves come before links to them
        files += _entered(links.pop(0), links, entered)
    return sorted(files, key=lambda found: found.path.relative_to(folder).as_posix())


def pictures_below(folder: Path) -> list[Path]:
    """Files that look like pictures, in the order of `files_below`.

    Raises DataError if the folder cannot be read or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    pictures = [found.path for found in files_below(folder) if found.is_picture]
    if not pictures:
        kinds = " ".join(sorted(SUFFIXES))
        raise DataError(f"{folder} holds no pictures: known kinds are {kinds}")
    return pictures


def shown(text: str) -> str:
    """A path, or words with one, that can be written: bytes that are not UTF-8 as \\xNN."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def picture_of(path: Path, form: Preprocessing) -> np.ndarray:
    """A file as an upload of it would be seen: uint8 (C, H, W). Raises DataError."""
    try:
        return form.read(open_picture(path.read_bytes(), FILE_FORMATS))[0]
    except UnreadablePicture as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def pictures_of(paths: list[Path], form: Preprocessing) -> np.ndarray:
    """Files as uploads of them would be seen: uint8 (N, C, H, W). Raises DataError."""
    x = np.empty((len(paths), form.channels, form.height, form.width), np.uint8)
    for i, path in enumerate(paths):
        x[i] = picture_of(path, form)
    return x


def _entered(folder: Path, links: list[Path], entered: set[str]) -> list[Found]:
    """What lies in a folder and its folders; those behind links are put off into `links`."""
    place = os.path.realpath(folder)
    if place in entered:
        return [Found(folder, "a link to a folder that was entered already")]
    entered.add(place)
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        return [Found(folder, f"a folder that cannot be read: {error.strerror}")]
    files = []
    for path in paths:
        if path.name.startswith("."):
            files.append(Found(path, "hidden"))
        elif path.is_dir() and path.is_symlink():
            links.append(path)
        elif path.is_dir():
            files += _entered(path, links, entered)
        else:
            files.append(Found(path, _why_skipped(path)))
    return files


def _why_skipped(path: Path) -> str:
    if not path.is_file():
        return "a link to nothing" if path.is_symlink() and not path.exists() else "not a file"
    suffix = path.suffix.lower()
    return "" if suffix in SUFFIXES | _UNSURE else f"{suffix} is no known kind of picture"
