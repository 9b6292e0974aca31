"""Every operation of every family at each example of its params, alone and in company."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch

from models.core.families import families
from models.core.model import GenerativeModel
from models.core.noise import row_seeds
from models.core.operation import Operation, Rows, concat, num_rows, run, split
from tests.models.tiny import events, random_model

ATOL = 1e-4


@cache
def model_of(family: str) -> GenerativeModel:
    """One tiny model a family; no operation may change it."""
    return random_model(family)


class Case(NamedTuple):
    """An operation with params; several cases of one operation can share a lane."""

    family: str
    name: str
    params: Any

    @property
    def model(self) -> GenerativeModel:
        """The model that runs it."""
        return model_of(self.family)

    @property
    def operation(self) -> Operation[Any]:
        """The operation itself."""
        return self.model.operations()[self.name]

    def inputs(self, num: int = 5, seed: int = 0) -> Rows:
        """Columns as a request brings them; labels mixed, one of them missing."""
        model, operation = self.model, self.operation
        rows: Rows = {"seed": row_seeds(seed, num)}
        if operation.takes_label:
            rows["label"] = (torch.arange(num) + seed) % (model.num_classes + 1) - 1
        try:
            operation.check(rows, self.params)
        except ValueError:
            rows["x"] = events(num, model.event_shape, seed)
        operation.check(rows, self.params)
        return rows

    def run(self, inputs: Rows) -> Rows:
        """The result, computed as the service does: without gradients."""
        with torch.no_grad():
            return run(self.operation, inputs, self.params)


CASES = [
    Case(family, name, params)
    for family in families()
    for name, operation in model_of(family).operations().items()
    for params in (operation.default_params, *operation.examples)
]


def title(case: Any) -> str:
    """How a case is called in the report."""
    return f"{case.family}-{case.name}" if isinstance(case, Case) else str(case)


def assert_same(found: Rows, expected: Rows, atol: float = ATOL) -> None:
    """Equal columns up to rounding, NaN where NaN is meant."""
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            found[name], expected[name], atol=atol, rtol=atol, equal_nan=True, msg=name
        )


def rows_at(rows: Rows, index: Any) -> Rows:
    """Some rows of a table."""
    return {name: column[index] for name, column in rows.items()}


@torch.no_grad()
def in_company(operation: Operation[Any], requests: Sequence[tuple[Rows, Any]]) -> list[Rows]:
    """Results of requests that share every step they can; request i joins at tick i."""
    results: dict[int, Rows] = {}
    inside: dict[int, Rows] = {}
    left = [operation.num_steps(params) for _, params in requests]
    tick = 0
    while len(results) < len(requests):
        if tick < len(requests):
            inside[tick] = operation.init(*requests[tick])
        tick += 1
        rows = operation.step(concat(list(inside.values())))
        parts = split(rows, [num_rows(part) for part in inside.values()])
        inside = dict(zip(inside, parts, strict=True))
        for i in list(inside):
            left[i] -= 1
            if left[i] == 0:
                results[i] = operation.finish(inside.pop(i))
        assert inside or tick < len(requests) or len(results) == len(requests)
    return [results[i] for i in range(len(requests))]
