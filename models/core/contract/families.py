"""Find a family by its file name; nothing else decides what a bundle may import."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from models.core.contract.model import Servable

_FOLDER = Path(__file__).parents[2]
_DETECTORS = ("screen",)
"""What stands where a bundle names its family, if it is several models as one: rooms of the core
whose file model.py has a `Config` and a `Model` too."""


def families() -> tuple[str, ...]:
    """Names of all families: every file directly in `models/`."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.py") if not p.stem.startswith("_")))


def family(name: str) -> ModuleType:
    """The module of a family, with its `Config` and `Model`. Raises ValueError if unknown."""
    if name not in families():
        raise ValueError(f"unknown family {name!r}: accepted are {', '.join(families())}")
    return importlib.import_module(f"models.{name}")


def build(name: str, config: Mapping[str, Any]) -> Servable:
    """A new model of the family, or a new screen; JSON's lists may stand for tuples in `config`.

    Raises ValueError for an unknown family and values that the model refuses, TypeError for
    settings that the family's `Config` does not have.
    """
    is_detector = name in _DETECTORS
    module = importlib.import_module(f"models.core.{name}.model") if is_detector else family(name)
    model: Servable = module.Model(module.Config(**{k: tupled(v) for k, v in config.items()}))
    return model


def tupled(value: Any) -> Any:
    """The value with tuples for lists, at any depth: JSON knows no tuples, a `Config` no lists."""
    return tuple(tupled(v) for v in value) if isinstance(value, (list, tuple)) else value
