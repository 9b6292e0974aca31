"""What result columns hold, declared beforehand: the shape and the type of a row's value."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Column:
    """A result column (B, *shape)."""

    shape: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32


Columns = Mapping[str, Column]


def columns(**shapes: tuple[int, ...]) -> Columns:
    """Columns of float32 by name, each with the shape that a row has in it."""
    return {name: Column(shape) for name, shape in shapes.items()}
