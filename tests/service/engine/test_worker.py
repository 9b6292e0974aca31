"""The worker: its thread, its door, and how it ends."""

from concurrent.futures import Future, wait
from typing import Any

import pytest
import torch

from service.engine.ticket import Answer, LaneKey, Ticket
from service.engine.worker import Watch, Worker
from service.errors import Overloaded, ShuttingDown, StepFailed, TooManyRows
from tests.support.service.models import Count, CountParams, inputs

LANE = LaneKey("m", "count")
FOREVER = CountParams(10**9)
BOUND_S = 30


class Recorder(Watch):
    """Keeps what the worker tells."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.departed: list[str] = []
        self.errors: list[str] = []

    def stepped(self, lane: LaneKey, num_rows: int, seconds: float) -> None:
        self.steps.append(num_rows)

    def left(self, ticket: Ticket, where: str) -> None:
        self.departed.append(where)

    def failed(self, lane: LaneKey | None, error: Exception) -> None:
        self.errors.append(str(error))


def started(max_rows: int = 4, max_rows_inside: int = 10, watch: Watch | None = None) -> Worker:
    worker = Worker(max_rows_inside, num_threads=1, watch=watch)
    worker.start()
    worker.call(lambda: worker.open(LANE, Count(), max_rows)).result(BOUND_S)
    return worker


def ask(worker: Worker, num: int, params: CountParams | None = None) -> "Future[Answer]":
    return worker.submit(LANE, inputs(num, x=torch.arange(num) * 1.0), params or CountParams(1))


def test_a_request_is_answered_with_its_times() -> None:
    watch = Recorder()
    worker = started(watch=watch)
    answer = ask(worker, 3).result(BOUND_S)
    worker.stop()
    assert answer.rows["x"].tolist() == [1.0, 2.0, 3.0]
    assert answer.queue_s >= 0
    assert answer.compute_s > 0
    assert watch.steps == [3]
    assert watch.departed == ["running"]


def test_a_split_request_is_answered_whole_and_in_order() -> None:
    worker = started()
    answer = ask(worker, 10).result(BOUND_S)
    worker.stop()
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
    worker.stop()


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
    worker.stop()
    assert waits[0] < waits[1]


def test_cancelling_a_split_request_cancels_all_its_parts() -> None:
    watch = Recorder()
    worker = started(watch=watch)
    gone = ask(worker, 10, FOREVER)
    assert gone.cancel()
    assert worker.rows_inside == 0
    ask(worker, 4).result(BOUND_S)
    worker.stop()
    assert len(watch.departed) == 4


def test_a_failing_part_fails_the_request_and_cancels_the_rest() -> None:
    watch = Recorder()
    worker = started(watch=watch)
    x = torch.tensor([0.0] * 4 + [torch.nan] + [0.0] * 5)
    answer = worker.submit(LANE, inputs(10, x=x), CountParams(3))
    with pytest.raises(StepFailed):
        answer.result(BOUND_S)
    assert ask(worker, 1).result(BOUND_S)
    worker.stop()
    assert worker.rows_inside == 0
    assert "poison" in watch.errors
    assert not worker.broken


class DeviceLost(Count):
    """Fails as a device does that will not recover."""

    def step(self, rows: Any) -> Any:
        raise torch.AcceleratorError("device lost")


def test_an_error_of_the_device_makes_the_worker_ill() -> None:
    worker = started()
    lane = LaneKey("m", "lost")
    worker.call(lambda: worker.open(lane, DeviceLost(), 4)).result(BOUND_S)
    with pytest.raises(StepFailed):
        worker.submit(lane, inputs(1, x=torch.zeros(1)), CountParams()).result(BOUND_S)
    worker.stop()
    assert worker.broken


def test_draining_finishes_what_is_inside_and_takes_no_more() -> None:
    worker = started()
    futures = [ask(worker, 2, CountParams(500)) for _ in range(4)]
    assert worker.drain(BOUND_S)
    assert all(future.done() for future in futures)
    with pytest.raises(ShuttingDown):
        ask(worker, 1)
    worker.stop()


def test_what_does_not_finish_in_time_fails() -> None:
    worker = started()
    futures = [ask(worker, 4, FOREVER), ask(worker, 6, FOREVER)]
    assert not worker.drain(0)
    wait(futures, BOUND_S)
    assert all(isinstance(future.exception(), ShuttingDown) for future in futures)
    assert worker.rows_inside == 0
    worker.stop()


def test_a_failing_call_reaches_its_caller_only() -> None:
    worker = started()
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 // 0).result(BOUND_S)
    assert ask(worker, 1).result(BOUND_S)
    worker.stop()
