"""Find a family by its file name; nothing else decides what a bundle may import."""

import importlib
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).parents[2]


def families() -> tuple[str, ...]:
    """Names of all families: every file directly in `models/`."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_")))


def family(name: str) -> ModuleType:
    """The module of a family, with its `Config` and `Model`. Raises ValueError if unknown."""
    if name not in families():
        raise ValueError(f"unknown family {name!r}: accepted are {', '.join(families())}")
    return importlib.import_module(f"models.{name}")
