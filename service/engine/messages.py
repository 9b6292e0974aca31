"""What crosses between the service and the worker: frozen data that can be pickled."""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from models.core.contract.grid import quantise
from models.core.contract.likelihood import Likelihood
from models.core.contract.rows import Rows
from service.errors import PROBLEMS, Overloaded, ServiceError


class LaneKey(NamedTuple):
    """Only rows of one operation of one model can share a step."""

    model: str
    operation: str


@dataclass(frozen=True)
class Previews:
    """Which looks at its rows a request wants while they are made."""

    every: int
    """Steps from one to the next."""
    num_images: int | None = None
    """Only the first images are shown; None: all of them."""
    at_most: int | None = None
    """Where there would be more of them, `every` doubles, so that about half as many are made."""

    def due(self, steps_done: int) -> bool:
        """Whether rows are to be shown after so many steps."""
        every = self.every
        while self.at_most is not None and steps_done > every * (self.at_most + 1):
            every *= 2
        return steps_done % every == 0


@dataclass(frozen=True)
class Load:
    """Load bundles, open a lane for each of their operations and say what there is: `Loaded`."""

    request: int
    bundles: tuple[str, ...]
    default_model: str
    default_screen: str
    backend: str
    num_threads: int
    max_rows: int
    max_step_ms: float


@dataclass(frozen=True)
class Plan:
    """How long would it take, and what would the number be? `Planned`."""

    lane: LaneKey
    params: Any


@dataclass(frozen=True, eq=False)
class Submit:
    """Run an operation: `Accepted` now, and later an `Answer` or a `Failure`."""

    request: int
    lane: LaneKey
    inputs: Rows
    params: Any
    previews: Previews | None = None


@dataclass(frozen=True)
class Cancel:
    """Nobody waits for this request any more."""

    request: int


@dataclass(frozen=True)
class AskStatus:
    """How is the worker? `Status`."""


@dataclass(frozen=True)
class Close:
    """Take no more work, and go on with what is inside."""


@dataclass(frozen=True)
class Drain:
    """Take no more work, wait for what is inside, then fail the rest: `Drained`."""

    timeout_s: float


@dataclass(frozen=True)
class Stop:
    """End after what is being done now."""


Message = Load | Plan | Submit | Cancel | AskStatus | Close | Drain | Stop


@dataclass(frozen=True)
class Accepted:
    """The message was understood and is acted upon."""


@dataclass(frozen=True)
class Planned:
    """What is known of work before it begins."""

    num_steps: int
    """Steps of the program; at most so many, if it may stop early."""
    kind: Likelihood | None
    """What the number is that it gives, if it gives one."""


@dataclass(frozen=True)
class Status:
    """How the worker is."""

    rows_inside: int
    """Rows accepted and not yet answered."""
    draining: bool
    broken: bool
    """The device or the engine will not recover: the process should be replaced."""


@dataclass(frozen=True)
class Drained:
    """Whether everybody inside was answered in time."""

    everybody: bool


@dataclass(frozen=True)
class Failure:
    """A `ServiceError` as data: the slug of its kind, and its text."""

    kind: str
    detail: str
    request: int = 0
    """0 in a reply, which is to the message before it."""
    retry_after_s: float = 0.0

    @classmethod
    def of(cls, error: Exception, request: int = 0) -> "Failure":
        """The data of an error; one that is none of the service's own is internal."""
        kind = error.slug if isinstance(error, ServiceError) else ServiceError.slug
        retry_after_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
        return cls(kind, str(error), request, retry_after_s)

    def error(self) -> ServiceError:
        """The error, to be raised where the request is answered."""
        if self.kind == Overloaded.slug:
            return Overloaded(self.detail, self.retry_after_s)
        return PROBLEMS[self.kind](self.detail)


Reply = Accepted | Planned | Status | Drained | Failure


@dataclass(frozen=True, eq=False)
class Answer:
    """The result columns of one request, and how long it waited and ran."""

    request: int
    rows: Rows
    queue_s: float
    compute_s: float


@dataclass(frozen=True, eq=False)
class Loaded:
    """What there is, described without the models themselves."""

    request: int
    catalog: Any


@dataclass(frozen=True, eq=False)
class Preview:
    """Some rows of a request at one moment."""

    request: int
    first_row: int
    num_rows: int
    steps_done: int
    pixels: np.ndarray | None
    """uint8 (num_rows, ..., *event_shape), or fewer rows; None if there is nothing to draw."""


@dataclass(frozen=True)
class Skipped:
    """A bundle could not be loaded."""

    bundle: str
    reason: str


@dataclass(frozen=True)
class Stepped:
    """A step of so many rows took so long."""

    lane: LaneKey
    num_rows: int
    seconds: float


@dataclass(frozen=True)
class Cancelled:
    """A ticket was cancelled while it was "waiting" or "running"."""

    where: str


@dataclass(frozen=True)
class OperationFailed:
    """An operation, or with no lane the worker itself, raised an exception."""

    lane: LaneKey | None
    traceback: str


Notice = Skipped | Stepped | Cancelled | OperationFailed
"""What is no answer to anybody: for the metrics and the log."""
Event = Answer | Failure | Loaded | Preview | Notice


def pixels_of(x: Tensor | None, first_row: int, num_images: int | None) -> np.ndarray | None:
    """Images of rows as grey levels, not more of them than asked for; None for what is no image.

    Shapes: (B, ..., C, H, W) -> uint8 of as many rows or fewer.
    """
    if x is None or x.ndim < 4:
        return None
    if num_images is not None:
        room = ceil(num_images / prod(x.shape[1:-3])) - first_row
        x = x[: max(room, 0)]
    pixels: np.ndarray = quantise(x.nan_to_num()).cpu().numpy()
    return pixels
