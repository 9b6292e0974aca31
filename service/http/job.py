"""A job: an operation, and all that a request says of it, resolved once."""

from dataclasses import dataclass
from typing import Any

from models.core.contract.rows import Rows
from service.catalog.description import ModelDescription, OperationDescription
from service.http.inputs import Uploads, input_columns


@dataclass(frozen=True, eq=False)
class Job:
    """What the worker is asked for."""

    operation: OperationDescription
    params: Any
    rows: Rows
    """The input columns."""
    seed: int = 0

    @classmethod
    def of(
        cls,
        model: ModelDescription,
        operation: OperationDescription,
        uploads: Uploads | None,
        *,
        params: Any = None,
        label: int = -1,
        seed: int = 0,
        num: int | None = None,
    ) -> "Job":
        """As many rows as there are uploads, or `num`, by default params unless there are others.

        `label` is the index of a class, -1 for none.
        """
        num = num or (uploads.num if uploads else 1)
        rows = input_columns(model, operation, seed, num, uploads, label)
        return cls(operation, operation.default_params if params is None else params, rows, seed)
