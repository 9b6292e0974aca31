"""From result columns to the results of an answer: numbers, what they are, and classes."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from models.core.contract.likelihood import Likelihood, bits_per_dim
from models.core.contract.rows import Rows
from service.catalog.description import ModelDescription

Result = dict[str, Any]


def numbers(column: Tensor) -> list[float | None]:
    """As many digits as float32 holds; None where a number is not finite. Shape: (B,)."""
    return [number(value) for value in column.tolist()]


def nested(column: Tensor) -> list[Any]:
    """As `numbers`, for rows of any shape. Shapes: (B, ...) -> B nested lists."""
    flat = np.empty(column.numel(), dtype=object)
    flat[:] = numbers(column.flatten())
    rows: list[Any] = flat.reshape(column.shape).tolist()
    return rows


@dataclass(frozen=True)
class About:
    """What the numbers of an operation are, at the params of the request."""

    kind: Likelihood | None
    num_samples: int | None
    """Draws of which each number is made, if it is made of draws."""

    def beside(self, rows: Rows, num: int) -> list[Result]:
        """What every number is accompanied by."""
        errors: list[float | None] = [None] * num
        if "standard_error" in rows:
            errors = numbers(rows["standard_error"])
        return [{"standard_error": error, "num_samples": self.num_samples} for error in errors]


def log_likelihoods(model: ModelDescription, rows: Rows, about: About) -> list[Result]:
    """One result per row of a log_likelihood operation."""
    log_prob = rows["log_prob"]
    num = len(log_prob)
    bits: list[float | None] = [None] * num
    discrete = model.takes_images or model.grid is not None
    if about.kind is not Likelihood.UNNORMALISED and discrete:
        bits = numbers(bits_per_dim(log_prob, model.num_dims))
    return [
        {"log_likelihood": value, "bits_per_dim": bit, "kind": about.kind, **beside}
        for value, bit, beside in zip(numbers(log_prob), bits, about.beside(rows, num), strict=True)
    ]


def energies(model: ModelDescription, rows: Rows, about: About) -> list[Result]:
    """One result per row of an energy operation; without a kind its constant is unknown."""
    num = len(rows["energy"])
    per_class: list[Any] = [None] * num
    if "energies" in rows:
        per_class = [_by_class(model, row) for row in rows["energies"].tolist()]
    kind = about.kind or Likelihood.UNNORMALISED
    return [
        {"energy": value, "kind": kind, "energies": classes, **beside}
        for value, classes, beside in zip(
            numbers(rows["energy"]), per_class, about.beside(rows, num), strict=True
        )
    ]


def classes(model: ModelDescription, rows: Rows, decisions: Iterable[Result]) -> list[Result]:
    """One result per row of a classify operation, with what was decided about it."""
    best = rows["probabilities"].argmax(1).tolist()
    return [
        {
            "label": model.class_names[index],
            "label_index": index,
            "probabilities": _by_class(model, probabilities),
            **decision,
        }
        for index, probabilities, decision in zip(
            best, rows["probabilities"].tolist(), decisions, strict=True
        )
    ]


def number(value: float) -> float | None:
    """As many digits as float32 holds; None if it is not finite."""
    return rounded(value) if math.isfinite(value) else None


def rounded(value: float) -> float:
    """A finite number to as many digits as float32 holds."""
    return float(f"{value:.7g}")


def _by_class(model: ModelDescription, row: list[float]) -> Mapping[str, float | None]:
    return {name: number(value) for name, value in zip(model.class_names, row, strict=True)}
