"""One request inside the worker: its tickets are answered together, and once."""

import time
from collections.abc import Callable
from concurrent.futures import Future

from models.core.contract.rows import Rows, concat
from service.engine.messages import Answer, Failure
from service.engine.ticket import Ticket


class TicketedRequest:
    """Tickets that make one answer: the first failure is that of all, and so is a cancellation."""

    def __init__(
        self,
        number: int,
        tickets: list[Ticket],
        submitted_s: float,
        deliver: Callable[[Answer | Failure], None],
    ) -> None:
        self._number, self._tickets, self._submitted_s = number, tickets, submitted_s
        self._deliver = deliver
        self._over = False
        for ticket in tickets:
            ticket.result.add_done_callback(self._one_done)

    def cancel(self) -> None:
        """Nobody waits any more: the rows leave with the next step."""
        self._over = True
        for ticket in self._tickets:
            ticket.result.cancel()

    def _one_done(self, part: Future[Rows]) -> None:
        if self._over:
            return
        if not part.cancelled() and (error := part.exception()) is not None:
            assert isinstance(error, Exception)
            self.cancel()
            self._deliver(Failure.of(error, self._number))
        elif all(ticket.result.done() for ticket in self._tickets):
            self._over = True
            self._deliver(self._answer())

    def _answer(self) -> Answer:
        admitted_s = min(ticket.admitted_s for ticket in self._tickets)
        rows = [ticket.result.result() for ticket in self._tickets]
        return Answer(
            self._number,
            rows=concat(rows) if len(rows) > 1 else rows[0],
            queue_s=admitted_s - self._submitted_s,
            compute_s=time.perf_counter() - admitted_s,
        )
