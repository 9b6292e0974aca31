"""The worker: the thread that owns the device, with a door that refuses what it cannot take."""

import math
import queue
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.core.contract.operation import Operation
from models.core.contract.rows import num_rows
from service.engine import messages
from service.engine.backlog import Backlog
from service.engine.engine import Engine
from service.engine.messages import LaneKey
from service.engine.request import TicketedRequest
from service.engine.ticket import Observer, Ticket
from service.errors import (
    InvalidRequest,
    Overloaded,
    ServiceError,
    ShuttingDown,
    StepFailed,
    TooManyRows,
)

T = TypeVar("T")
Loader = Callable[[messages.Load, "Worker"], Any]
"""Opens lanes for what it loads, on the worker's thread, and describes it."""


class Worker(Observer):
    """The only one to touch the engine and its tensors: takes messages and emits events."""

    def __init__(
        self, max_rows_inside: int, num_threads: int = 0, loader: Loader | None = None
    ) -> None:
        self.max_rows_inside = max_rows_inside
        self.num_threads = num_threads
        self.draining = False
        self.broken = False
        self.emit: Callable[[messages.Event], None] = _to_nobody
        self._loader = loader
        self._engine = Engine(self)
        self._requests: dict[int, TicketedRequest] = {}
        self._inbox: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._rows_inside = 0
        self._backlog = Backlog()
        self._last_step: tuple[LaneKey, int] | None = None
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    @property
    def rows_inside(self) -> int:
        """Rows accepted and not yet answered."""
        return self._rows_inside

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def handle(self, message: messages.Message) -> messages.Reply:
        """Act upon a message, from any thread."""
        try:
            return self._reply(message)
        except ServiceError as error:
            return messages.Failure.of(error)

    def _reply(self, message: messages.Message) -> messages.Reply:
        match message:
            case messages.Submit():
                self._submit(message)
            case messages.Plan(lane, params):
                operation = self._engine.lanes[lane].operation
                return messages.Planned(operation.num_steps(params), operation.kind(params))
            case messages.Cancel(number):
                if (request := self._requests.pop(number, None)) is not None:
                    request.cancel()
            case messages.AskStatus():
                return messages.Status(self._rows_inside, self.draining, self.broken)
            case messages.Close():
                self.draining = True
            case messages.Load():
                self.call(partial(self._load, message))
            case messages.Drain(timeout_s):
                return messages.Drained(self._drain(timeout_s))
            case messages.Stop():
                self._inbox.put(None)
                self._thread.join()
        return messages.Accepted()

    def open(
        self, lane: LaneKey, operation: Operation[Any], max_rows: int, max_work: float = math.inf
    ) -> None:
        """Add a lane; on the worker's thread."""
        self._engine.open(lane, operation, max_rows, max_work)

    def _load(self, message: messages.Load) -> None:
        assert self._loader is not None
        try:
            catalog = self._loader(message, self)
        except Exception as error:  # the service says why it is not ready
            self.emit(messages.Failure.of(error, message.request))
        else:
            self.emit(messages.Loaded(message.request, catalog))

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Run a function on the worker's thread, between two steps."""
        promise: Future[T] = Future()
        self._inbox.put(partial(_fulfil, promise, function))
        return promise

    def _submit(self, message: messages.Submit) -> None:
        """Let a request in. Raises at once if it cannot be taken."""
        submitted_s = time.perf_counter()
        try:
            self._engine.lanes[message.lane].operation.check(message.inputs, message.params)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        size = num_rows(message.inputs)
        if size > self.max_rows_inside:
            raise TooManyRows(f"{size} rows: accepted are at most {self.max_rows_inside}")
        tickets = self._engine.tickets(message)
        with self._changed:
            if self.draining:
                raise ShuttingDown("the service is stopping")
            if self._rows_inside + size > self.max_rows_inside:
                raise Overloaded(
                    f"{self._rows_inside} rows are inside and {size} more do not fit: "
                    f"accepted are {self.max_rows_inside}",
                    self._backlog.wait_s(size, self._rows_inside, self.max_rows_inside),
                )
            self._rows_inside += size
            work = sum(ticket.num_rows * ticket.steps_left for ticket in tickets)
            self._backlog.add(message.lane, work)
            for ticket in tickets:
                ticket.result.add_done_callback(partial(self._release, ticket.num_rows))
            number, answer = message.request, self._answer
            self._requests[number] = TicketedRequest(number, tickets, submitted_s, answer)
            self._inbox.put(partial(self._engine.submit, tickets))

    def _answer(self, answer: messages.Answer | messages.Failure) -> None:
        self._requests.pop(answer.request, None)
        self.emit(answer)

    def _drain(self, timeout_s: float) -> bool:
        """Whether nobody was left when the time was over; those who were have failed."""
        with self._changed:
            self.draining = True
            done = self._changed.wait_for(lambda: self._rows_inside == 0, timeout_s)
        if not done:
            stopping = ShuttingDown("the service is stopping and the time to finish is over")
            self.call(partial(self._engine.fail, stopping)).result()
        return done

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
            self.emit(messages.OperationFailed(None, _told(error)))
            self._engine.fail(StepFailed("the engine failed"))
            return False
        if self._last_step is not None:
            lane, size = self._last_step
            seconds = time.perf_counter() - start_s
            self._backlog.took(lane, size, seconds)
            self.emit(messages.Stepped(lane, size, seconds))
        return busy

    def _release(self, size: int, _: object) -> None:
        with self._changed:
            self._rows_inside -= size
            self._changed.notify_all()

    def admitted(self, ticket: Ticket) -> None:
        ticket.admitted_s = time.perf_counter()

    def stepped(self, lane: LaneKey, num_rows: int) -> None:
        self._last_step = (lane, num_rows)
        self._reduce(lane, num_rows)

    def previewed(self, ticket: Ticket, x: Tensor | None) -> None:
        assert ticket.previews is not None
        pixels = messages.pixels_of(x, ticket.first_row, ticket.previews.num_images)
        rows = ticket.first_row, ticket.num_rows
        self.emit(messages.Preview(ticket.request, *rows, ticket.steps_done, pixels))

    def left(self, ticket: Ticket, where: str) -> None:
        self._reduce(ticket.lane, ticket.num_rows * ticket.steps_left)
        if ticket.result.cancelled():
            self.emit(messages.Cancelled(where))

    def failed(self, lane: LaneKey, error: Exception) -> None:
        # A device that has reported an error of its own does not recover within the process.
        self.broken = self.broken or isinstance(error, torch.AcceleratorError)
        self.emit(messages.OperationFailed(lane, _told(error)))

    def _reduce(self, lane: LaneKey, work: int) -> None:
        with self._changed:
            self._backlog.reduce(lane, work)


def _to_nobody(event: messages.Event) -> None:
    """Where events go until a client wants them."""


def _told(error: Exception) -> str:
    """The traceback as a text."""
    return "".join(traceback.format_exception(error)).rstrip()


def _fulfil(promise: Future[T], function: Callable[[], T]) -> None:
    if not promise.set_running_or_notify_cancel():
        return
    try:
        promise.set_result(function())
    except Exception as error:
        promise.set_exception(error)
