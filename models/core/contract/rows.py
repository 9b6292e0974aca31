"""A batch as a table: one row a sample, and how tables are put together and taken apart."""

from collections.abc import Sequence

import torch
from torch import Tensor

Rows = dict[str, Tensor]
"""A batch as a table: every tensor has the same leading dimension, one row per sample."""


CPU_COLUMNS = ("seed", "step")
"""Columns from which noise is drawn; they stay on the CPU."""


def num_rows(rows: Rows) -> int:
    """How many rows a table has."""
    return next(iter(rows.values())).shape[0] if rows else 0


def concat(parts: Sequence[Rows]) -> Rows:
    """Stack tables of equal columns: parts of B_i rows -> one of sum(B_i) rows."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def split(rows: Rows, sizes: list[int]) -> list[Rows]:
    """The inverse of `concat`: views of `sizes[i]` rows each."""
    columns = {name: column.split(sizes) for name, column in rows.items()}
    return [{name: parts[i] for name, parts in columns.items()} for i in range(len(sizes))]


def to_device(rows: Rows, device: torch.device) -> Rows:
    """The rows on a device, except the columns that noise is drawn from."""
    return {name: c if name in CPU_COLUMNS else c.to(device) for name, c in rows.items()}


def rows_at(rows: Rows, chosen: Tensor) -> Rows:
    """Some rows of a table. Shapes: chosen int64 (N,), on the CPU."""
    return {name: column[chosen.to(column.device)] for name, column in rows.items()}


def with_rows_at(rows: Rows, chosen: Tensor, part: Rows) -> Rows:
    """The table with other values in some rows, for the columns that `part` has."""
    return {
        name: column.index_copy(0, chosen.to(column.device), part[name]) if name in part else column
        for name, column in rows.items()
    }
