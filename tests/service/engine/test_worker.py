"""The worker: its thread, its door, and how it ends."""

import asyncio
from concurrent.futures import Future, wait
from typing import Any

import pytest
import torch

from models.core.contract.rows import Rows
from service.engine.client import Client
from service.engine.messages import (
    Answer,
    Cancelled,
    LaneKey,
    Notice,
    OperationFailed,
    Stepped,
)
from service.engine.worker import Worker
from service.errors import Overloaded, ShuttingDown, StepFailed, TooManyRows
from tests.support.service.models import Count, CountParams, inputs

LANE = LaneKey("m", "count")
FOREVER = CountParams(10**9)
BOUND_S = 30


class Started:
    """A worker at work, its client, and what it has told."""

    def __init__(self, max_rows: int = 4, max_rows_inside: int = 10) -> None:
        self.notices: list[Notice] = []
        self.worker = Worker(max_rows_inside, num_threads=1)
        self.client = Client(self.worker, self.notices.append)
        self.worker.start()
        self.open(LANE, Count(), max_rows)

    def open(self, lane: LaneKey, operation: Count, max_rows: int) -> None:
        """Add a lane."""
        self.worker.call(lambda: self.worker.open(lane, operation, max_rows)).result(BOUND_S)

    @property
    def rows_inside(self) -> int:
        """What the worker says of itself."""
        return self.client.status().rows_inside

    def submit(self, lane: LaneKey, columns: Rows, params: CountParams) -> "Future[Answer]":
        """The promise of an answer."""
        return asyncio.run(self.client.submit(lane, columns, params))

    def tracebacks(self) -> str:
        """Of all failures."""
        return "".join(n.traceback for n in self.notices if isinstance(n, OperationFailed))

    def num_cancelled(self) -> int:
        """Tickets."""
        return sum(isinstance(n, Cancelled) for n in self.notices)


def started(max_rows: int = 4, max_rows_inside: int = 10) -> Started:
    return Started(max_rows, max_rows_inside)


def ask(worker: Started, num: int, params: CountParams | None = None) -> "Future[Answer]":
    return worker.submit(LANE, inputs(num, x=torch.arange(num) * 1.0), params or CountParams(1))


def test_a_request_is_answered_with_its_times() -> None:
    worker = started()
    answer = ask(worker, 3).result(BOUND_S)
    worker.client.stop()
    assert answer.rows["x"].tolist() == [1.0, 2.0, 3.0]
    assert answer.queue_s >= 0
    assert answer.compute_s > 0
    assert [(n.lane, n.num_rows) for n in worker.notices if isinstance(n, Stepped)] == [(LANE, 3)]
    assert worker.num_cancelled() == 0


def test_a_split_request_is_answered_whole_and_in_order() -> None:
    worker = started()
    answer = ask(worker, 10).result(BOUND_S)
    worker.client.stop()
    assert answer.rows["x"].tolist() == [i + 1.0 for i in range(10)]
    assert worker.rows_inside == 0


def test_the_door_refuses_what_does_not_fit_and_estimates_the_wait() -> None:
    worker = started()
    long = [ask(worker, 4, FOREVER), ask(worker, 4, FOREVER)]
    with pytest.raises(Overloaded) as refused:
        ask(worker, 4)
    assert int(refused.value.headers["Retry-After"]) >= 1
    assert ask(worker, 2, FOREVER).cancel()
    with pytest.raises(TooManyRows, match="10"):
        ask(worker, 11)
    assert all(future.cancel() for future in long)
    assert worker.rows_inside == 0
    assert ask(worker, 10).result(BOUND_S)
    worker.client.stop()


def test_the_estimate_grows_with_the_work_inside() -> None:
    worker = started()
    ask(worker, 4).result(BOUND_S)
    waits = []
    for num_steps in (10**6, 10**9):
        long = ask(worker, 4, CountParams(num_steps)), ask(worker, 6, CountParams(num_steps))
        with pytest.raises(Overloaded) as refused:
            ask(worker, 1)
        waits.append(refused.value.retry_after_s)
        for future in long:
            future.cancel()
    worker.client.stop()
    assert waits[0] < waits[1]


def test_cancelling_a_split_request_cancels_all_its_parts() -> None:
    worker = started()
    gone = ask(worker, 10, FOREVER)
    assert gone.cancel()
    assert worker.rows_inside == 0
    ask(worker, 4).result(BOUND_S)
    worker.client.stop()
    assert worker.num_cancelled() == 3


def test_a_failing_part_fails_the_request_and_cancels_the_rest() -> None:
    worker = started()
    x = torch.tensor([0.0] * 4 + [torch.nan] + [0.0] * 5)
    answer = worker.submit(LANE, inputs(10, x=x), CountParams(3))
    with pytest.raises(StepFailed):
        answer.result(BOUND_S)
    assert ask(worker, 1).result(BOUND_S)
    worker.client.stop()
    assert worker.rows_inside == 0
    assert "poison" in worker.tracebacks()
    assert not worker.client.status().broken


class DeviceLost(Count):
    """Fails as a device does that will not recover."""

    def step(self, rows: Any) -> Any:
        raise torch.AcceleratorError("device lost")


def test_an_error_of_the_device_makes_the_worker_ill() -> None:
    worker = started()
    lane = LaneKey("m", "lost")
    worker.open(lane, DeviceLost(), 4)
    with pytest.raises(StepFailed):
        worker.submit(lane, inputs(1, x=torch.zeros(1)), CountParams()).result(BOUND_S)
    worker.client.stop()
    assert worker.client.status().broken


def test_draining_finishes_what_is_inside_and_takes_no_more() -> None:
    worker = started()
    futures = [ask(worker, 2, CountParams(500)) for _ in range(4)]
    assert worker.client.drain(BOUND_S)
    assert all(future.done() for future in futures)
    with pytest.raises(ShuttingDown):
        ask(worker, 1)
    worker.client.stop()


def test_what_does_not_finish_in_time_fails() -> None:
    worker = started()
    futures = [ask(worker, 4, FOREVER), ask(worker, 6, FOREVER)]
    assert not worker.client.drain(0)
    wait(futures, BOUND_S)
    assert all(isinstance(future.exception(), ShuttingDown) for future in futures)
    assert worker.rows_inside == 0
    worker.client.stop()


def test_a_failing_call_reaches_its_caller_only() -> None:
    worker = started()
    with pytest.raises(ZeroDivisionError):
        worker.worker.call(lambda: 1 // 0).result(BOUND_S)
    assert ask(worker, 1).result(BOUND_S)
    worker.client.stop()
