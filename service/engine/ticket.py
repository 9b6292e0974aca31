"""What the engine passes around: rows that travel together, their lane, and who is told of them."""

import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from torch import Tensor

from models.core.contract.rows import Rows

T = TypeVar("T")


class LaneKey(NamedTuple):
    """Only rows of one operation of one model can share a step."""

    model: str
    operation: str


def settle(promise: Future[T], value: T | Exception) -> None:
    """Deliver, unless the client has gone: setting a cancelled future would raise."""
    if promise.done() or not promise.set_running_or_notify_cancel():
        return
    if isinstance(value, Exception):
        promise.set_exception(value)
    else:
        promise.set_result(value)


class Viewer:
    """Watches the events of a request being made; this one sees nothing."""

    every: int = 1
    """Steps between two looks."""

    def show(self, ticket: "Ticket", x: Tensor | None) -> None:
        """A ticket is so far. On the engine's thread, so that waiting here would stop everybody.

        Shapes: x as of `Operation.preview`, on the model's device.
        """


@dataclass(eq=False)
class Ticket:
    """Accepted rows that travel together, and the promise of their result."""

    lane: LaneKey
    inputs: Rows
    params: Any
    num_rows: int
    steps_left: int
    result: Future[Rows] = field(default_factory=Future)
    admitted_s: float = math.nan
    """When the rows joined the batch; written by the observer, whose clock it is."""
    stopped: bool = False
    """All rows were done before their steps were over."""
    steps_done: int = 0
    first_row: int = 0
    """Which row of its request the first one is."""
    viewer: Viewer | None = None

    @property
    def leaves(self) -> bool:
        return self.steps_left == 0 or self.stopped or self.result.cancelled()

    @property
    def is_watched(self) -> bool:
        """Whether somebody wants to see the rows after this step; after the last one, nobody."""
        due = self.viewer is not None and self.steps_done % self.viewer.every == 0
        return due and not self.leaves


@dataclass(frozen=True)
class Answer:
    """The result columns of one request, and how long it waited and ran."""

    rows: Rows
    queue_s: float
    compute_s: float


class Observer:
    """Is told what happens, on the engine's thread; this one looks away."""

    def admitted(self, ticket: Ticket) -> None:
        """The ticket's rows have joined the batch."""

    def stepped(self, lane: LaneKey, num_rows: int) -> None:
        """A step of so many rows was done, well or not."""

    def left(self, ticket: Ticket, where: str) -> None:
        """The ticket is out of the engine; it was "waiting" or "running"."""

    def failed(self, lane: LaneKey, error: Exception) -> None:
        """An operation raised an exception; those it concerns get StepFailed."""
