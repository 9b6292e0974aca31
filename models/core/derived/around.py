"""A program around another one, whose result it changes."""

from collections.abc import Container
from typing import Any, TypeVar

from models.core.contract.likelihood import Likelihood
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows

P = TypeVar("P")


class Around(Operation[P]):
    """Another program inside, whose result a subclass changes."""

    def __init__(self, log_likelihood: Operation[P]) -> None:
        self.inner = log_likelihood
        # Declared by classes, but here each belongs to the program inside.
        self.Params: Any = log_likelihood.Params  # type: ignore[misc]
        self.graphs = log_likelihood.graphs
        self.takes_label = log_likelihood.takes_label
        self.shares_seed = log_likelihood.shares_seed
        self.stops_early = log_likelihood.stops_early

    @property
    def default_params(self) -> P:
        return self.inner.default_params

    @property
    def examples(self) -> tuple[P, ...]:
        return self.inner.examples

    def check(self, inputs: Container[str], params: P) -> None:
        self.inner.check(inputs, params)

    def kind(self, params: P) -> Likelihood | None:
        return self.inner.kind(params)

    def num_steps(self, params: P) -> int:
        return self.inner.num_steps(params)

    def init(self, inputs: Rows, params: P) -> Rows:
        return self.inner.init(inputs, params)

    def step(self, rows: Rows) -> Rows:
        return self.inner.step(rows)

    def finish(self, rows: Rows) -> Rows:
        return self.inner.finish(rows)
