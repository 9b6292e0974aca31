"""The pictures in a folder of a user's, flat or in folders, labelled or not."""

from pathlib import Path

from training.readers import SUFFIXES, DataError


def pictures_below(folder: Path) -> list[Path]:
    """Files that look like pictures, by relative path, so that the order is the same everywhere.

    Hidden files and folders are passed over, and so are files of other kinds. Raises DataError if
    the folder cannot be read or holds no picture.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise DataError(f"{folder} holds no pictures: known kinds are {kinds}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())
