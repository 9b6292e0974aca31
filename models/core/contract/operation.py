"""Work on rows as a program of steps, so that steps of different requests can share a batch."""

from abc import ABC, abstractmethod
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from models.core.contract.columns import Columns, columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.rows import Rows

P = TypeVar("P")


@dataclass(frozen=True)
class NoParams:
    """An operation without parameters."""


class Operation(ABC, Generic[P]):
    """A program of steps over rows.

    Rows are independent: no method may let one row see another, and rows in one call
    may be at different steps, with different params. All state lives in the rows, none
    in the object. Columns "seed" and "step" stay on the CPU, where the noise is drawn.
    """

    Params: ClassVar[type[Any]] = NoParams

    needs_events: bool = True
    """Whether `init` needs the input column x, the events that the operation is about."""

    needs_latents: bool = False
    """Whether `init` needs the input column z (B, *latent_shape)."""

    takes_label: bool = False
    """Whether the input column label (B,) changes the result; -1 stands for no label."""

    shares_seed: bool = False
    """Whether all rows of a request get its seed itself: noise then depends on seed and event."""

    stops_early: bool = False
    """Whether the state has a column done (B,) bool; a request may leave once all its rows are."""

    outputs: Columns = columns()
    """The result columns that `finish` gives."""

    graphs: tuple[str, ...] = ()
    """Names of the model's pure functions that a step calls (see `GenerativeModel.graphs`)."""

    @property
    def default_params(self) -> P:
        """What a request that names no params gets: for samplers, the settings of training."""
        return self.Params()

    @property
    def examples(self) -> tuple[P, ...]:
        """Params that between them reach every branch: for warm-up and the contract tests."""
        return (self.default_params,)

    def check(self, inputs: Container[str], params: P) -> None:
        """Refuse what `init` cannot work with. Raises ValueError with what is accepted."""
        if self.needs_events and "x" not in inputs:
            raise ValueError("this operation needs images or arrays")
        if self.needs_latents and "z" not in inputs:
            raise ValueError("this operation needs latents")

    def kind(self, params: P) -> Likelihood | None:
        """What the number is in the column log_prob, or in energy = -log_prob; None without one."""
        return None

    def step_work(self, params: P) -> float:
        """The work of a row's step beside that of other params: 1 unless params change it."""
        return 1.0

    def own_inputs(self, num: int, seed: int = 0) -> Rows:
        """Columns that only this operation takes, made up: for warm-up and the contract tests.

        Empty if all it takes are seed, label, z and x (B, *event_shape).
        """
        return {}

    def preview(self, rows: Rows) -> Tensor | None:
        """The events as far as they are made, (B, ..., *event_shape), for those who watch.

        None if there is nothing to see before the end.
        """
        return rows.get("x")

    @abstractmethod
    def num_steps(self, params: P) -> int:
        """How often `step` must run, at most if it `stops_early`; known beforehand, so that the
        engine asks the device only about operations that may stop early."""

    @abstractmethod
    def init(self, inputs: Rows, params: P) -> Rows:
        """The state before the first step: inputs and params as columns."""

    @abstractmethod
    def step(self, rows: Rows) -> Rows:
        """One iteration for every row, about one network evaluation."""

    def finish(self, rows: Rows) -> Rows:
        """The result columns, from the state after the last step. No network here."""
        return rows


def run(operation: Operation[P], inputs: Rows, params: P) -> Rows:
    """Run a program without an engine, for training, calibration and tests: the result columns."""
    rows = operation.init(inputs, params)
    for _ in range(operation.num_steps(params)):
        rows = operation.step(rows)
        if operation.stops_early and bool(rows["done"].all()):
            break
    return operation.finish(rows)
