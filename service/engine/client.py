"""The seam: the service talks to the worker by messages, and by nothing else."""

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from models.core.contract.rows import Rows
from service.engine.messages import (
    Answer,
    AskStatus,
    Cancel,
    Close,
    Drain,
    Drained,
    Event,
    Failure,
    LaneKey,
    Load,
    Loaded,
    Message,
    Notice,
    Plan,
    Planned,
    Preview,
    Previews,
    Reply,
    Status,
    Stop,
    Submit,
)
from service.engine.ticket import settle
from service.engine.worker import Worker

R = TypeVar("R")
Show = Callable[[Preview], None]
"""Takes a preview, on the worker's thread: it must not wait."""


class _Pending(NamedTuple):
    """A request that has no answer yet."""

    answer: Future[Any]
    show: Show | None


class Client:
    """Numbers requests, and sorts what comes back to those who wait for it.

    The worker is a thread of this process, so messages arrive as they are, without a copy. One
    in a process of its own needs another `send`, and somebody who calls `receive`.
    """

    def __init__(self, worker: Worker, notice: Callable[[Notice], None]) -> None:
        self._worker = worker
        self._notice = notice
        self._numbers = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        worker.emit = self.receive

    def send(self, message: Message) -> Reply:
        """Hand a message over; what the worker says to it at once."""
        return self._worker.handle(message)

    def receive(self, event: Event) -> None:
        """Take what the worker says of its own accord, on its thread."""
        if isinstance(event, Preview):
            pending = self._pending.get(event.request)
            if pending is not None and pending.show is not None:
                pending.show(event)
        elif isinstance(event, Answer | Loaded | Failure):
            pending = self._pending.pop(event.request, None)
            if pending is not None:
                settle(pending.answer, event.error() if isinstance(event, Failure) else event)
        else:
            self._notice(event)

    async def plan(self, lane: LaneKey, params: Any) -> Planned:
        """What is known of work before it begins."""
        return self._ask(Plan(lane, params), Planned)

    async def submit(
        self,
        lane: LaneKey,
        inputs: Rows,
        params: Any,
        previews: Previews | None = None,
        show: Show | None = None,
    ) -> Future[Answer]:
        """The promise of an answer; to cancel it takes the rows out.

        Raises InvalidRequest, TooManyRows, ShuttingDown or Overloaded.
        """
        number = next(self._numbers)
        answer: Future[Answer] = Future()
        self._pending[number] = _Pending(answer, show)
        reply = self.send(Submit(number, lane, inputs, params, previews))
        if isinstance(reply, Failure):
            del self._pending[number]
            raise reply.error()
        answer.add_done_callback(partial(self._cancelled, number))
        return answer

    def _cancelled(self, number: int, answer: Future[Answer]) -> None:
        if answer.cancelled():
            self._pending.pop(number, None)
            self.send(Cancel(number))

    async def load(
        self,
        bundles: tuple[str, ...],
        default_model: str,
        default_screen: str,
        *,
        backend: str,
        num_threads: int,
        max_rows: int,
        max_step_ms: float,
    ) -> Any:
        """The catalog of what the worker could load. Raises ServiceError if it could not."""
        number = next(self._numbers)
        loaded: Future[Loaded] = Future()
        self._pending[number] = _Pending(loaded, None)
        defaults = default_model, default_screen
        self.send(Load(number, bundles, *defaults, backend, num_threads, max_rows, max_step_ms))
        return (await asyncio.wrap_future(loaded)).catalog

    def status(self) -> Status:
        """How the worker is."""
        return self._ask(AskStatus(), Status)

    def close(self) -> None:
        """Let the worker take no more work. Safe within a signal handler."""
        self.send(Close())

    def drain(self, timeout_s: float) -> bool:
        """Wait for what is inside, then fail the rest; whether everybody was answered. Blocks."""
        return self._ask(Drain(timeout_s), Drained).everybody

    def stop(self) -> None:
        """End the worker. Blocks until it has."""
        self.send(Stop())

    def _ask(self, message: Message, kind: type[R]) -> R:
        reply = self.send(message)
        if isinstance(reply, Failure):
            raise reply.error()
        assert isinstance(reply, kind)
        return reply
