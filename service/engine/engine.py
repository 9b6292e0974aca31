"""The engine: one step of one lane at a time, requests joining and leaving between the steps.

No thread and no clock: the worker turns the crank, and tests do.
"""

import math
from collections import deque
from typing import Any

import torch

from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, concat, num_rows, split
from service.engine.messages import LaneKey, Submit
from service.engine.ticket import Observer, Ticket, settle
from service.errors import StepFailed


class Lane:
    """The requests of one operation: some wait, the others run together as one batch."""

    def __init__(
        self,
        key: LaneKey,
        operation: Operation[Any],
        max_rows: int,
        observer: Observer,
        max_work: float = math.inf,
    ) -> None:
        self.key = key
        self.operation = operation
        self.max_rows = max_rows
        self.max_work = max_work
        self.observer = observer
        self.waiting: deque[deque[Ticket]] = deque()
        self.running: list[Ticket] = []
        self.rows: Rows = {}

    def admit(self) -> None:
        """Move waiting tickets into the batch while they fit; requests take turns, oldest first."""
        parts = [self.rows] if self.running else []
        while (ticket := self._next()) is not None:
            try:
                part = self.operation.init(ticket.inputs, ticket.params)
                _check_columns(part, parts[0] if parts else part, ticket.num_rows)
            except Exception as error:
                self._fail(ticket, error)
                continue
            parts.append(part)
            self.running.append(ticket)
            self.observer.admitted(ticket)
        if parts:
            self.rows = concat(parts) if len(parts) > 1 else parts[0]

    def rows_of(self, params: Any) -> int:
        """How many rows with these params may share a step; one at least."""
        by_work = self.max_work / self.operation.step_work(params)
        return max(1, int(min(self.max_rows, by_work)))

    def _fits(self, ticket: Ticket) -> bool:
        """Whether it may join the batch; alone it always may."""
        if not self.running:
            return True
        num_rows = ticket.num_rows + sum(other.num_rows for other in self.running)
        work = ticket.work + sum(other.work for other in self.running)
        return num_rows <= self.max_rows and work <= self.max_work

    def _next(self) -> Ticket | None:
        """The next ticket that wants in and fits; the rest of its request goes to the back."""
        while self.waiting:
            request = self.waiting[0]
            gone = request[0].result.cancelled()
            if not gone and not self._fits(request[0]):
                return None
            self.waiting.popleft()
            ticket = request.popleft()
            if request:
                self.waiting.append(request)
            if not gone:
                return ticket
            self.observer.left(ticket, "waiting")
        return None

    def step(self) -> None:
        """One step of every row. If it fails, each ticket steps alone, so only the guilty fail."""
        sizes = [ticket.num_rows for ticket in self.running]
        try:
            self.rows = self.operation.step(self.rows)
        except Exception as error:
            self.observer.failed(self.key, error)
            self._step_one_by_one(split(self.rows, sizes), error)
        for ticket in self.running:
            ticket.steps_left -= 1
            ticket.steps_done += 1
        self.observer.stepped(self.key, sum(sizes))

    def _step_one_by_one(self, parts: list[Rows], error: Exception) -> None:
        stepped: list[tuple[Ticket, Rows]] = []
        alone = len(parts) == 1
        for ticket, part in zip(self.running, parts, strict=True):
            try:
                if alone:
                    raise error
                stepped.append((ticket, self.operation.step(part)))
            except Exception as own:
                self._fail(ticket, own, known=own is error)
        self._keep(stepped)

    def stop_early(self) -> None:
        """Let the tickets go whose rows are all done; asks the device once a step."""
        if not self.operation.stops_early or not self.running:
            return
        done = self.rows["done"].cpu().split([ticket.num_rows for ticket in self.running])
        for ticket, part in zip(self.running, done, strict=True):
            ticket.stopped = bool(part.all())

    def show(self) -> None:
        """Let those who watch see what is made so far."""
        if not any(ticket.is_watched for ticket in self.running):
            return
        x = self.operation.preview(self.rows)
        sizes = [ticket.num_rows for ticket in self.running]
        parts = [None] * len(sizes) if x is None else x.split(sizes)
        for ticket, part in zip(self.running, parts, strict=True):
            if ticket.is_watched:
                self.observer.previewed(ticket, part)

    def retire(self) -> None:
        """Take out the tickets that are finished or cancelled; their rows leave the device."""
        if not any(ticket.leaves for ticket in self.running):
            return
        parts = split(self.rows, [ticket.num_rows for ticket in self.running])
        staying: list[tuple[Ticket, Rows]] = []
        for ticket, part in zip(self.running, parts, strict=True):
            if not ticket.leaves:
                staying.append((ticket, part))
            elif ticket.result.cancelled():
                self.observer.left(ticket, "running")
            else:
                self._finish(ticket, part)
        self._keep(staying)

    def _finish(self, ticket: Ticket, part: Rows) -> None:
        try:
            value = {name: c.cpu() for name, c in self.operation.finish(part).items()}
        except Exception as error:
            self._fail(ticket, error)
            return
        self.observer.left(ticket, "running")
        settle(ticket.result, value)

    def _keep(self, staying: list[tuple[Ticket, Rows]]) -> None:
        self.running = [ticket for ticket, _ in staying]
        self.rows = concat([part for _, part in staying]) if staying else {}

    def _fail(self, ticket: Ticket, error: Exception, known: bool = False) -> None:
        if not known:
            self.observer.failed(self.key, error)
        self.observer.left(ticket, "running")
        settle(ticket.result, StepFailed(f"{self.key.operation}: {type(error).__name__}"))

    def fail(self, error: Exception) -> None:
        """Answer everybody, waiting or running, with an error."""
        everybody = [("running", ticket) for ticket in self.running]
        everybody += [("waiting", ticket) for request in self.waiting for ticket in request]
        self.waiting.clear()
        self._keep([])
        for where, ticket in everybody:
            self.observer.left(ticket, where)
            settle(ticket.result, error)


class Engine:
    """Runs every operation of every model on one device, one step of one lane at a time."""

    def __init__(self, observer: Observer | None = None) -> None:
        self.lanes: dict[LaneKey, Lane] = {}
        self._observer = observer or Observer()
        self._turns: deque[Lane] = deque()

    def open(
        self, key: LaneKey, operation: Operation[Any], max_rows: int, max_work: float = math.inf
    ) -> None:
        """Add a lane whose steps take at most so many rows, and so much work unless of one row."""
        self.lanes[key] = Lane(key, operation, max_rows, self._observer, max_work)
        self._turns.append(self.lanes[key])

    def tickets(self, message: Submit) -> list[Ticket]:
        """A request as tickets that fit into a step: rows are independent. Any thread."""
        lane, inputs, params = message.lane, message.inputs, message.params
        size, max_rows = num_rows(inputs), self.lanes[lane].rows_of(params)
        sizes = [min(max_rows, size - i) for i in range(0, size, max_rows)]
        parts = split(inputs, sizes) if len(sizes) > 1 else [inputs]
        operation = self.lanes[lane].operation
        num_steps, row_work = operation.num_steps(params), operation.step_work(params)
        assert size > 0
        assert num_steps > 0
        return [
            Ticket(
                lane,
                part,
                params,
                rows,
                num_steps,
                row_work * rows,
                request=message.request,
                first_row=i * max_rows,
                previews=message.previews,
            )
            for i, (part, rows) in enumerate(zip(parts, sizes, strict=True))
        ]

    def submit(self, tickets: list[Ticket]) -> None:
        """Let the tickets of one request wait for their lane."""
        self.lanes[tickets[0].lane].waiting.append(deque(tickets))

    @torch.no_grad()
    def tick(self) -> bool:
        """Advance the next lane that has work by one step; False if none has."""
        for _ in range(len(self._turns)):
            lane = self._turns[0]
            self._turns.rotate(-1)
            try:
                lane.admit()
                if not lane.running:
                    continue
                lane.step()
                lane.stop_early()
                lane.show()
                lane.retire()
            except Exception as error:  # an operation that breaks its promises fails its lane only
                self._observer.failed(lane.key, error)
                lane.fail(StepFailed(f"{lane.key.operation}: {type(error).__name__}"))
            return True
        return False

    def fail(self, error: Exception) -> None:
        """Answer everybody in every lane with an error."""
        for lane in self.lanes.values():
            lane.fail(error)


def _check_columns(part: Rows, other: Rows, size: int) -> None:
    """Rows that do not fit their lane are refused before they can spoil the batch."""
    for name, column in part.items():
        if column.shape[0] != size:
            raise ValueError(f"column {name} has {column.shape[0]} rows, not {size}")
    forms = [{n: (c.dtype, c.shape[1:]) for n, c in rows.items()} for rows in (part, other)]
    if forms[0] != forms[1]:
        raise ValueError(f"columns {forms[0]} do not fit {forms[1]}")
