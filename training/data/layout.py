"""Reads where in a folder its classes are, in the layouts that are in use, or says what it saw."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from training.data.readers import SUFFIXES, DataError, Raw

_ROLES: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What folders of a cut set are called, whatever the case of their letters."""
_SHOWN = 5


def raw_folder(folder: Path) -> Raw:
    """A folder per class, or folders for train, val and test with a folder per class each.

    Beside train, val alone is the official test part; val and test are both what they say. Pictures
    are in the order of their relative paths, so that it is the same on every file system. Hidden
    files are passed over; anything else that is no picture in a class folder is an error. Raises
    DataError, also where the classes could be in two places.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is neither a named data set nor a folder")
    cut = _cut(folder)
    if not cut:
        _is_one_layout(folder)
        return _raw({"train": _class_folder(folder)})
    parts = {role: _class_folder(path) for role, path in cut.items()}
    for role, path in cut.items():
        if unknown := sorted(parts[role].keys() - parts["train"].keys()):
            raise DataError(
                f"{path / unknown[0]} is a class that {cut['train'].name}/ does not have"
            )
    if "test" not in parts:
        parts = {"train": parts["train"], "test": parts["validation"]}
    return _raw(parts)


def _cut(folder: Path) -> dict[str, Path]:
    """The folders of train, test and validation by role; empty where classes are at the top."""
    entries = _visible(folder)
    named = [path for path in entries if path.name.lower() in _ROLES and path.is_dir()]
    cut = {_ROLES[path.name.lower()]: path for path in named}
    strays = [path for path in entries if path not in named]
    # A class may be called train, among other vehicles: it then holds pictures like the others.
    if not named or (len(cut) == 1 and strays and not any(map(_holds_folders, named))):
        return {}
    if strays:
        raise DataError(
            f"{strays[0]} is beside {_listed(named)}, which should be alone if they are parts of "
            "a set"
        )
    if len(cut) < len(named):
        raise DataError(f"{folder} holds {_listed(named)}: two of them are the same part of a set")
    if "train" not in cut or len(cut) == 1:
        raise DataError(
            f"{folder} holds {_listed(named)} alone: accepted are train/ with test/, val/ or both, "
            "or a folder per class"
        )
    return {role: cut[role] for role in ("train", "validation", "test") if role in cut}


def _is_one_layout(folder: Path) -> None:
    """Raises DataError where classes could as well be one level further down."""
    classes = [path for path in _visible(folder) if path.is_dir()]
    below = {path: [inner.name for inner in _visible(path)] for path in classes}
    if len(classes) == 1 and _holds_folders(classes[0]):
        (only,) = classes
        raise DataError(
            f"{folder} holds one folder, {only.name}/, in which are {_listed(_visible(only))}: if "
            f"these are the classes, name {only}; one class of all of them has its pictures "
            "without folders"
        )
    if classes and all(
        names and all(name.lower() in _ROLES for name in names) for names in below.values()
    ):
        raise DataError(
            f"{folder} holds {_listed(classes)}, and in each of them are parts of a set "
            f"({_listed(_visible(classes[0]))}): accepted are train/ and test/ with a folder per "
            "class each"
        )


def _holds_folders(folder: Path) -> bool:
    """Whether a folder holds other folders and nothing else."""
    entries = _visible(folder)
    return bool(entries) and all(path.is_dir() for path in entries)


def _listed(paths: Iterable[Path]) -> str:
    """The first names, and how many more there are."""
    names = [f"{path.name}/" if path.is_dir() else path.name for path in paths]
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _raw(parts: Mapping[str, Mapping[str, list[Path]]]) -> Raw:
    class_names = tuple(sorted(parts["train"]))
    table = [
        (path, class_names.index(name), role)
        for role, classes in parts.items()
        for name in sorted(classes)
        for path in classes[name]
    ]
    paths, y, roles = zip(*table, strict=True)
    official = {role: np.equal(roles, role) for role in parts if role != "train"}
    return Raw(
        paths,
        np.array(y, np.int64),
        class_names,
        is_test=official.get("test"),
        is_validation=official.get("validation"),
    )


def _class_folder(folder: Path) -> dict[str, list[Path]]:
    """The pictures of every class, sorted by relative path."""
    classes: dict[str, list[Path]] = {}
    for entry in _visible(folder):
        if not entry.is_dir():
            raise DataError(
                f"{entry} has no label: every picture must be in the folder of its class, "
                f"such as {folder / 'some-class' / entry.name}"
            )
        files = [path for path in _walk(entry) if path.is_file()]
        strange = [path for path in files if path.suffix.lower() not in SUFFIXES]
        if strange:
            kinds = " ".join(sorted(SUFFIXES))
            raise DataError(f"{strange[0]} is no picture of a known kind: {kinds}")
        if not files:
            raise DataError(f"{entry} is a class folder without pictures")
        classes[entry.name] = sorted(files, key=lambda path: path.relative_to(folder).as_posix())
    if not classes:
        raise DataError(f"{folder} has no class folders")
    return classes


def _visible(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder")
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _walk(folder: Path) -> Iterable[Path]:
    for path in _visible(folder):
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
