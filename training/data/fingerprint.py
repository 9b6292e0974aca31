"""What a data set consists of, file by file, so that another one is not taken for it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from training.data.readers import DataError

Fingerprint = Mapping[str, str]
"""A line for every file, by its path: split, size in bytes and sha256."""
_NAMED = 3


def of_pictures(
    folder: Path, pictures: tuple[Path, ...], splits: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """The fingerprint of a folder's pictures. Shapes: `splits` int (N,) rows each.

    Names are relative to the folder, which may be moved. Raises DataError for a file that cannot
    be read.
    """
    return {
        pictures[row].relative_to(folder).as_posix(): f"{split} {_content(pictures[row])}"
        for split, rows in splits.items()
        for row in sorted(rows.tolist())
    }


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return f"{file.tell()} {digest}"
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def difference(before: Fingerprint, now: Fingerprint) -> str:
    """What has become of a data set, in words for a person; empty where it is the same."""
    both = before.keys() & now.keys()
    moved = {name for name in both if before[name].split()[1:] == now[name].split()[1:]}
    kinds = {
        "new": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
        "of other content": both - moved,
        "in another split": {name for name in moved if before[name] != now[name]},
    }
    return ", ".join(
        f"{len(names):,} {kind} (the first: {min(names)})" for kind, names in kinds.items() if names
    )
