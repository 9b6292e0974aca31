"""The worker: the thread that owns the device, with a door that refuses what it cannot take."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import torch

from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, concat
from service.engine.engine import Engine
from service.engine.ticket import Answer, LaneKey, Observer, Ticket, Viewer, settle
from service.errors import Overloaded, ServiceError, ShuttingDown, StepFailed, TooManyRows

T = TypeVar("T")


class Watch:
    """Is told what the worker does, on its thread; the metrics are one, this one looks away."""

    def stepped(self, lane: LaneKey, num_rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""

    def left(self, ticket: Ticket, where: str) -> None:
        """The ticket is out of the engine; it was "waiting" or "running"."""

    def failed(self, lane: LaneKey | None, error: Exception) -> None:
        """An operation, or with no lane the worker itself, raised an exception."""


class Worker(Observer):
    """The only one to touch the engine and its tensors; everybody else hands in and gets futures.

    Everything that crosses is `submit(lane, inputs, params)` and its Answer, both plain data, so
    this class is the seam for a process per device.
    """

    def __init__(
        self, max_rows_inside: int, num_threads: int = 0, watch: Watch | None = None
    ) -> None:
        self.max_rows_inside = max_rows_inside
        self.num_threads = num_threads
        self.draining = False
        self.broken = False
        """The device or the engine will not recover: the process should be replaced."""
        self._engine = Engine(self)
        self._watch = watch or Watch()
        self._inbox: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._rows_inside = 0
        self._backlog: dict[LaneKey, int] = {}
        """Rows times steps still to do, by lane."""
        self._row_step_s: dict[LaneKey, float] = {}
        """Recent seconds per row and step, by lane."""
        self._last_step: tuple[LaneKey, int] | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    @property
    def rows_inside(self) -> int:
        """Rows accepted and not yet answered."""
        return self._rows_inside

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def open(self, lane: LaneKey, operation: Operation[Any], max_rows: int) -> None:
        """Add a lane; on the worker's thread, by `call`."""
        self._engine.open(lane, operation, max_rows)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run a function on the worker's thread, between two steps."""
        promise: Future[T] = Future()
        self._inbox.put(partial(_fulfil, promise, function))
        return promise

    def submit(
        self, lane: LaneKey, inputs: Rows, params: Any, viewer: Viewer | None = None
    ) -> Future[Answer]:
        """Hand in a request from any thread; raises at once if it cannot be taken."""
        submitted_s = time.perf_counter()
        tickets = self._engine.tickets(lane, inputs, params, viewer)
        num_rows = sum(ticket.num_rows for ticket in tickets)
        if num_rows > self.max_rows_inside:
            raise TooManyRows(f"{num_rows} rows: accepted are at most {self.max_rows_inside}")
        with self._changed:
            if self.draining:
                raise ShuttingDown("the service is stopping")
            if self._rows_inside + num_rows > self.max_rows_inside:
                raise Overloaded(
                    f"{self._rows_inside} rows are inside and {num_rows} more do not fit: "
                    f"accepted are {self.max_rows_inside}",
                    self._wait_s(num_rows),
                )
            self._rows_inside += num_rows
            work = sum(ticket.num_rows * ticket.steps_left for ticket in tickets)
            self._backlog[lane] = self._backlog.get(lane, 0) + work
            for ticket in tickets:
                ticket.result.add_done_callback(partial(self._release, ticket.num_rows))
            answer = _joined(tickets, submitted_s)
            self._inbox.put(partial(self._engine.submit, tickets))
        return answer

    def drain(self, timeout_s: float) -> bool:
        """Take no more work, wait for what is inside, then fail the rest. True if none was left."""
        with self._changed:
            self.draining = True
            done = self._changed.wait_for(lambda: self._rows_inside == 0, timeout_s)
        if not done:
            stopping = ShuttingDown("the service is stopping and the time to finish is over")
            self.call(partial(self._engine.fail, stopping)).result()
        return done

    def stop(self) -> None:
        """End the thread after what it is doing now."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        if self.num_threads:
            torch.set_num_threads(self.num_threads)
        busy = False
        while True:
            try:
                while True:  # take all that has arrived; sleep here only when there is no work
                    command = self._inbox.get(block=not busy)
                    if command is None:
                        return
                    command()
                    busy = True
            except queue.Empty:
                busy = self._tick()

    def _tick(self) -> bool:
        start_s = time.perf_counter()
        self._last_step = None
        try:
            busy = self._engine.tick()
        except Exception as error:  # a bug of ours: answer everybody and say that we are ill
            self.broken = True
            self._watch.failed(None, error)
            self._engine.fail(StepFailed("the engine failed"))
            return False
        if self._last_step is not None:
            lane, num_rows = self._last_step
            seconds = time.perf_counter() - start_s
            recent = self._row_step_s.get(lane, seconds / num_rows)
            self._row_step_s[lane] = 0.8 * recent + 0.2 * seconds / num_rows
            self._watch.stepped(lane, num_rows, seconds)
        return busy

    def _wait_s(self, num_rows: int) -> float:
        """Estimated time until so many rows fit: the backlog's share that has to leave first."""
        backlog_s = sum(
            work * self._row_step_s.get(lane, 0.0) for lane, work in list(self._backlog.items())
        )
        excess = self._rows_inside + num_rows - self.max_rows_inside
        return backlog_s * excess / max(self._rows_inside, 1)

    def _release(self, num_rows: int, _: object) -> None:
        with self._changed:
            self._rows_inside -= num_rows
            self._changed.notify_all()

    def admitted(self, ticket: Ticket) -> None:
        ticket.admitted_s = time.perf_counter()

    def stepped(self, lane: LaneKey, num_rows: int) -> None:
        self._last_step = (lane, num_rows)
        self._reduce(lane, num_rows)

    def left(self, ticket: Ticket, where: str) -> None:
        self._reduce(ticket.lane, ticket.num_rows * ticket.steps_left)
        self._watch.left(ticket, where)

    def failed(self, lane: LaneKey, error: Exception) -> None:
        # A device that has reported an error of its own does not recover within the process.
        self.broken = self.broken or isinstance(error, torch.AcceleratorError)
        self._watch.failed(lane, error)

    def _reduce(self, lane: LaneKey, work: int) -> None:
        with self._changed:
            self._backlog[lane] -= work


def _fulfil(promise: Future[T], function: Callable[[], T]) -> None:
    if not promise.set_running_or_notify_cancel():
        return
    try:
        promise.set_result(function())
    except Exception as error:
        promise.set_exception(error)


def _joined(tickets: list[Ticket], submitted_s: float) -> Future[Answer]:
    """One promise for the tickets of a request; cancelling it cancels them all."""
    answer: Future[Answer] = Future()

    def one_done(part: Future[Rows]) -> None:
        if not part.cancelled() and (error := part.exception()) is not None:
            assert isinstance(error, ServiceError)
            settle(answer, error)
            cancel_all()
        elif not answer.done() and all(ticket.result.done() for ticket in tickets):
            admitted_s = min(ticket.admitted_s for ticket in tickets)
            rows = [ticket.result.result() for ticket in tickets]
            settle(
                answer,
                Answer(
                    rows=concat(rows) if len(rows) > 1 else rows[0],
                    queue_s=admitted_s - submitted_s,
                    compute_s=time.perf_counter() - admitted_s,
                ),
            )

    def cancel_all(_: object = None) -> None:
        for ticket in tickets:
            ticket.result.cancel()

    for ticket in tickets:
        ticket.result.add_done_callback(one_done)
    answer.add_done_callback(lambda done: cancel_all() if done.cancelled() else None)
    return answer
