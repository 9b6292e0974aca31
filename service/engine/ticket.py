"""What the engine passes around: rows that travel together, and who is told of them."""

import math
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from models.core.contract.rows import Rows
from service.engine.messages import LaneKey, Previews

T = TypeVar("T")


def settle(promise: Future[T], value: T | Exception) -> None:
    """Deliver, unless the client has gone: setting a cancelled future would raise."""
    if promise.done() or not promise.set_running_or_notify_cancel():
        return
    if isinstance(value, Exception):
        promise.set_exception(value)
    else:
        promise.set_result(value)


@dataclass(eq=False)
class Ticket:
    """Accepted rows that travel together, and the promise of their result."""

    lane: LaneKey
    inputs: Rows
    params: Any
    num_rows: int
    steps_left: int
    work: float = 0.0
    """Of one step of all rows, in the unit of `Operation.step_work`."""
    result: Future[Rows] = field(default_factory=Future)
    admitted_s: float = math.nan
    """When the rows joined the batch; written by the observer, whose clock it is."""
    stopped: bool = False
    """All rows were done before their steps were over."""
    steps_done: int = 0
    request: int = 0
    """The number of the request that the rows belong to."""
    first_row: int = 0
    """Which row of its request the first one is."""
    previews: Previews | None = None

    @property
    def leaves(self) -> bool:
        return self.steps_left == 0 or self.stopped or self.result.cancelled()

    @property
    def is_watched(self) -> bool:
        """Whether somebody wants to see the rows after this step; after the last one, nobody."""
        return self.previews is not None and self.previews.due(self.steps_done) and not self.leaves


class Observer:
    """Is told what happens in the engine, on its thread; this one looks away."""

    def admitted(self, ticket: Ticket) -> None:
        """The ticket's rows have joined the batch."""

    def stepped(self, lane: LaneKey, num_rows: int) -> None:
        """A step of so many rows was done, well or not."""

    def previewed(self, ticket: Ticket, x: Tensor | None) -> None:
        """A ticket whose request wants previews is so far. Waiting here would stop everybody.

        Shapes: x as of `Operation.preview`, on the model's device.
        """

    def left(self, ticket: Ticket, where: str) -> None:
        """The ticket is out of the engine; it was "waiting" or "running"."""

    def failed(self, lane: LaneKey, error: Exception) -> None:
        """An operation raised an exception; those it concerns get StepFailed."""
