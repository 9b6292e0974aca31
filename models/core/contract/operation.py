"""Work on rows as a program of steps, so that steps of different requests can share a batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from models.core.contract.likelihood import Likelihood

if TYPE_CHECKING:
    from models.core.contract.model import GenerativeModel

Rows = dict[str, Tensor]
"""A batch as a table: every tensor has the same leading dimension, one row per sample."""

P = TypeVar("P")

CPU_COLUMNS = ("seed", "step")
"""Columns from which noise is drawn; they stay on the CPU."""


@dataclass(frozen=True)
class NoParams:
    """An operation without parameters."""


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

    outputs: tuple[str, ...] = ()
    """The result columns that `finish` promises; it may give others too."""

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

    def gives_means(self, params: P) -> bool:
        """Whether column x holds expected values, which lie between the levels of the grid."""
        return False

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


class OneShot(Operation[NoParams]):
    """A single forward pass, as a program of one step."""

    def __init__(
        self,
        model: "GenerativeModel",
        forward: Callable[[Rows], Rows],
        *,
        outputs: tuple[str, ...],
        graphs: tuple[str, ...] = (),
        takes_label: bool = False,
        likelihood: Likelihood | None = None,
    ) -> None:
        self.model = model
        self.forward = forward
        self.outputs = outputs
        self.graphs = graphs
        self.takes_label = takes_label
        self.likelihood = likelihood

    def kind(self, params: NoParams) -> Likelihood | None:
        return self.likelihood

    def num_steps(self, params: NoParams) -> int:
        return 1

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        rows = to_device(inputs, self.model.device)
        if self.takes_label and "label" not in rows:
            rows["label"] = torch.full((num_rows(rows),), -1, device=self.model.device)
        return rows

    def step(self, rows: Rows) -> Rows:
        return self.forward(rows)


def to_device(rows: Rows, device: torch.device) -> Rows:
    """The rows on a device, except the columns that noise is drawn from."""
    return {name: c if name in CPU_COLUMNS else c.to(device) for name, c in rows.items()}


def run(operation: Operation[P], inputs: Rows, params: P) -> Rows:
    """The same program without an engine: for training, calibration and tests."""
    rows = operation.init(inputs, params)
    for _ in range(operation.num_steps(params)):
        rows = operation.step(rows)
        if operation.stops_early and bool(rows["done"].all()):
            break
    return operation.finish(rows)
