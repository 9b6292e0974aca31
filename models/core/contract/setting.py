"""A dataclass's settings, and which of them can change without another training."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

KEEPS_WEIGHTS: Mapping[str, bool] = {"keeps_weights": True}
"""Metadata of a field that has no say in the weights, such as how samples are drawn when served."""


def weight_settings(settings: Any) -> tuple[str, ...]:
    """Names of the fields that decide the weights, of a dataclass or one of its instances."""
    return tuple(f.name for f in fields(settings) if not f.metadata.get("keeps_weights"))
