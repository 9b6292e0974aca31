"""The engine, by turning its crank: fairness, company, cancellation, splitting."""

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from models.core.contract.operation import Operation, run
from models.core.contract.rows import Rows, concat
from service.engine.engine import Engine
from service.engine.messages import LaneKey
from service.engine.ticket import Observer, Ticket
from tests.support.service.models import (
    Count,
    CountParams,
    ask,
    count_engine,
    engine_of,
    images,
    inputs,
    run_dry,
    tiny_model,
)

JEM = tiny_model("jem", log_z=3.0)
OPERATIONS = JEM.operations()
SAMPLE: Any = OPERATIONS["sample"]


def test_a_short_request_overtakes_a_long_one() -> None:
    engine = count_engine(count=Count())
    (long,) = ask(engine, "count", inputs(1, x=torch.zeros(1)), CountParams(5))
    engine.tick()
    (short,) = ask(engine, "count", inputs(1, x=torch.zeros(1)), CountParams(2))
    engine.tick()
    engine.tick()
    assert short.result.done()
    assert not long.result.done()
    run_dry(engine)
    assert long.result.result()["x"].tolist() == [5.0]


def test_a_long_sampler_delays_an_energy_request_by_one_step() -> None:
    engine = engine_of(JEM)
    (sample,) = ask(engine, "sample", _sample_inputs(4), SAMPLE.params(num_steps=256))
    engine.tick()
    (energy,) = ask(engine, "energy", _energy_inputs(2), OPERATIONS["energy"].default_params)
    num_ticks = 0
    while not energy.result.done():
        assert engine.tick()
        num_ticks += 1
    assert num_ticks <= 2
    assert not sample.result.done()
    # One tick before the energy request and all but one of those counted were the sampler's.
    assert run_dry(engine) == 256 - num_ticks


def test_lanes_take_turns() -> None:
    a, b = Count(), Count()
    engine = count_engine(a=a, b=b)
    for name in ("a", "b"):
        ask(engine, name, inputs(1, x=torch.zeros(1)), CountParams(10))
    for _ in range(6):
        engine.tick()
    assert len(a.batch_sizes) == len(b.batch_sizes) == 3


def test_requests_of_a_full_lane_take_turns() -> None:
    engine = count_engine(max_rows=4, count=Count())
    big = ask(engine, "count", inputs(40, x=torch.zeros(40)), CountParams())
    (small,) = ask(engine, "count", inputs(1, x=torch.zeros(1)), CountParams())
    engine.tick()
    engine.tick()
    assert small.result.done()
    assert not all(ticket.result.done() for ticket in big)


def test_a_hundred_mixed_requests_get_what_they_asked_for() -> None:
    engine = engine_of(JEM, max_rows=16)
    requests: list[tuple[str, Rows, Any, list[Ticket]]] = []
    for i in range(100):
        name, columns, params = _request(i)
        requests.append((name, columns, params, ask(engine, name, columns, params)))
        if i % 3 == 0:
            engine.tick()
    run_dry(engine)
    for name, columns, params, tickets in requests:
        _assert_as_alone(OPERATIONS[name], columns, params, _rows(tickets))


def _request(i: int) -> tuple[str, Rows, Any]:
    num = 1 + i % 5
    if i % 4 == 0:
        params = (
            SAMPLE.params(num_steps=1 + i % 23),
            SAMPLE.params(num_steps=5, start="persistent", polish_steps=2, step_size=0.2),
            SAMPLE.params(num_steps=7, start="noise", noise_scale=0.3),
        )[i % 3]
        return "sample", _sample_inputs(num, seed=i, label=i % 4 - 1), params
    if i % 4 == 1:
        return "energy", _energy_inputs(num, seed=i), OPERATIONS["energy"].default_params
    name = "classify" if i % 4 == 2 else "log_likelihood"
    examples = OPERATIONS[name].examples
    columns = inputs(num, seed=i, x=images(num, JEM.event_shape, seed=i))
    return name, columns, examples[i % len(examples)]


def test_the_same_seed_gives_the_same_sample_alone_and_among_strangers_joined_late() -> None:
    params = SAMPLE.params(num_steps=6)
    columns = _sample_inputs(2, seed=7)
    engine = engine_of(JEM)
    strangers = [
        ask(engine, "sample", _sample_inputs(3, seed=i), example)
        for i, example in enumerate(SAMPLE.examples)
        if example.start != "data"
    ]
    engine.tick()
    (ticket,) = ask(engine, "sample", columns, params)
    run_dry(engine)
    assert len(strangers) > 2
    _assert_as_alone(SAMPLE, columns, params, ticket.result.result())


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 5)), min_size=1, max_size=8),
    max_rows=st.integers(1, 7),
    ticks_between=st.integers(0, 3),
)
def test_any_mix_of_requests_is_answered_in_order(
    sizes: list[tuple[int, int]], max_rows: int, ticks_between: int
) -> None:
    operation = Count()
    engine = count_engine(max_rows, count=operation)
    asked = []
    for i, (size, num_steps) in enumerate(sizes):
        x = torch.arange(size) + 100.0 * i
        asked.append(ask(engine, "count", inputs(size, x=x), CountParams(num_steps)))
        for _ in range(ticks_between):
            engine.tick()
    run_dry(engine)
    for i, (size, num_steps) in enumerate(sizes):
        expected = torch.arange(size) + 100.0 * i + num_steps
        assert torch.equal(_rows(asked[i])["x"], expected)
    assert max(operation.batch_sizes) <= max_rows


def test_cancellation_frees_rows_and_harms_nobody() -> None:
    operation = Count()
    engine = count_engine(max_rows=4, count=operation)
    (gone,) = ask(engine, "count", inputs(3, x=torch.zeros(3)), CountParams(100))
    (stays,) = ask(engine, "count", inputs(1, x=torch.zeros(1)), CountParams(6))
    (waits,) = ask(engine, "count", inputs(3, x=torch.ones(3)), CountParams(2))
    engine.tick()
    assert operation.batch_sizes == [4]
    assert gone.result.cancel()
    run_dry(engine)
    assert operation.batch_sizes[2:] == [4, 4, 1, 1]
    assert stays.result.result()["x"].tolist() == [6.0]
    assert waits.result.result()["x"].tolist() == [3.0] * 3


def test_what_was_cancelled_while_waiting_is_never_computed() -> None:
    operation = Count()
    observer = Recorder()
    engine = Engine(observer)
    engine.open(LaneKey("m", "count"), operation, 4)
    (first,) = ask(engine, "count", inputs(4, x=torch.zeros(4)), CountParams(2))
    engine.tick()
    (gone,) = ask(engine, "count", inputs(4, x=torch.zeros(4)), CountParams(2))
    gone.result.cancel()
    run_dry(engine)
    assert first.result.done()
    assert operation.batch_sizes == [4, 4]
    assert ("left", "waiting") in observer.seen


class Recorder(Observer):
    """Keeps what the engine tells."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    def left(self, ticket: Ticket, where: str) -> None:
        self.seen.append(("left", where))

    def failed(self, lane: object, error: Exception) -> None:
        self.seen.append(("failed", str(error)))


def test_a_request_larger_than_the_budget_is_split_and_stays_in_order() -> None:
    operation = Count()
    engine = count_engine(max_rows=4, count=operation)
    tickets = ask(engine, "count", inputs(11, x=torch.arange(11.0)), CountParams())
    assert [ticket.num_rows for ticket in tickets] == [4, 4, 3]
    run_dry(engine)
    assert _rows(tickets)["x"].tolist() == [i + 1.0 for i in range(11)]
    assert max(operation.batch_sizes) == 4


def _sample_inputs(num: int, seed: int = 0, label: int = -1) -> Rows:
    return inputs(num, seed=seed, label=torch.full((num,), label))


def _energy_inputs(num: int, seed: int = 0) -> Rows:
    label = torch.arange(num) % 4 - 1
    return inputs(num, seed=seed, x=images(num, JEM.event_shape, seed), label=label)


def _rows(tickets: list[Ticket]) -> Rows:
    return concat([ticket.result.result() for ticket in tickets])


def _assert_as_alone(operation: Operation[Any], columns: Rows, params: Any, got: Rows) -> None:
    with torch.no_grad():
        alone = run(operation, columns, params)
    assert set(got) == set(alone)
    for name, column in alone.items():
        torch.testing.assert_close(got[name], column, atol=1e-4, rtol=0, equal_nan=True)
