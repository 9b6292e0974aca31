"""What a bundle says in words and figures is checked before anybody repeats it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A bundle's name: it is a folder's, a part of URLs and of headers."""
_MAX_LENGTH = 128


def check_name(name: Any) -> None:
    """Raises ValueError for a name that no bundle may have."""
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"bundle name {_shown(name)}: accepted are letters, digits, . _ -")


def check_description(text: Mapping[str, Any]) -> None:
    """Names, classes, columns, metrics and provenance of a bundle. Raises ValueError."""
    check_name(text["name"])
    _check_words("class_names", text["class_names"])
    _check_words("feature_names", text.get("feature_names", ()))
    for key, value in _mapping("metrics", text["metrics"]).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value)):
            raise ValueError(f"metrics: {_shown(key)} is {_shown(value)}, accepted are numbers")
    for key, value in _mapping("provenance", text["provenance"]).items():
        if not isinstance(value, str):
            raise ValueError(f"provenance: {_shown(key)} is {_shown(value)}, accepted is text")


def _check_words(what: str, words: Sequence[Any]) -> None:
    """Each can be shown on a line, and no two are the same."""
    if not isinstance(words, list | tuple):
        raise ValueError(f"{what} is {_shown(words)}, accepted is a list of names")
    for word in words:
        if not (isinstance(word, str) and word.isprintable() and 0 < len(word) <= _MAX_LENGTH):
            raise ValueError(
                f"{what}: {_shown(word)}, accepted are 1 to {_MAX_LENGTH} printable characters"
            )
    if twice := sorted({word for word in words if words.count(word) > 1}):
        raise ValueError(f"{what}: {_shown(twice[0])} stands there more than once")


def _mapping(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_shown(value)}, accepted are names and values")
    return value


def _shown(value: Any) -> str:
    """A value on a line, and not at length."""
    return ascii(value)[:80]
