"""Looks at where results are to go before the work begins whose results they are."""

import os
from pathlib import Path

from models.core.bundle.checks import check_name

OWN = Path("own_bundles")
"""Where bundles go that are not the project's, which ship in bundles/."""


def check_bundle(out: Path, name: str) -> None:
    """Raises ValueError for a name that no bundle may have, and a place that cannot be written.

    A bundle that is there will be replaced; what is no bundle must not be.
    """
    check_name(name)
    check_folder(out)
    target = out / name
    if target.exists() and not (target / "bundle.json").is_file():
        raise ValueError(f"{target} exists and is no bundle: name another by --name or --out")


def check_folder(folder: Path) -> None:
    """Raises ValueError for a folder that neither can be made nor be written in."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"--out {folder}: {there} is a file, not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder}: {there} cannot be written in")


def check_file(path: Path) -> None:
    """Raises ValueError for a file that cannot be written: a folder, or in one that is missing."""
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder: accepted is a file")
    if not path.parent.is_dir():
        raise ValueError(f"--out {path}: there is no folder {path.parent}")
    check_folder(path.parent)
