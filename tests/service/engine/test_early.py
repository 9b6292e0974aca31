"""Requests whose rows are all done leave before their steps are over, and harm nobody by it."""

import pytest
import torch

from models.core.contract.operation import run
from models.core.contract.rows import Rows
from service.engine.engine import Engine
from service.engine.messages import LaneKey
from service.engine.ticket import Observer, Ticket
from service.errors import StepFailed
from tests.support.service.models import Count, CountParams, ask, count_engine, inputs, run_dry

MANY = CountParams(100)


class CountTo(Count):
    """Adds 1 to x each step until the row has reached its own goal."""

    stops_early = True

    def init(self, inputs: Rows, params: CountParams) -> Rows:
        x = inputs["x"]
        return {"x": x, "goal": inputs["goal"], "done": torch.zeros(len(x), dtype=torch.bool)}

    def step(self, rows: Rows) -> Rows:
        x = torch.where(rows["done"], rows["x"], super().step(rows)["x"])
        return {**rows, "x": x, "done": x >= rows["goal"]}

    def finish(self, rows: Rows) -> Rows:
        return {"x": rows["x"]}


def goals(*goal: float) -> Rows:
    """A request of rows that count from 0 to these numbers."""
    return inputs(len(goal), x=torch.zeros(len(goal)), goal=torch.tensor(goal))


class Ledger(Observer):
    """Keeps the steps that were left to tickets when they went."""

    def __init__(self) -> None:
        self.steps_left: list[int] = []

    def left(self, ticket: Ticket, where: str) -> None:
        self.steps_left.append(ticket.steps_left)


def test_a_request_leaves_once_all_its_rows_are_done() -> None:
    operation = CountTo()
    engine = count_engine(count=operation)
    (ticket,) = ask(engine, "count", goals(2, 5, 3), MANY)
    assert run_dry(engine) == 5
    assert ticket.result.result()["x"].tolist() == [2.0, 5.0, 3.0]
    assert operation.batch_sizes == [3] * 5


def test_it_leaves_company_behind_untouched() -> None:
    operation = CountTo()
    engine = count_engine(count=operation)
    (long,) = ask(engine, "count", goals(9, 1), MANY)
    (short,) = ask(engine, "count", goals(2, 1), MANY)
    (last,) = ask(engine, "count", goals(4), MANY)
    engine.tick()
    assert not any(ticket.result.done() for ticket in (long, short, last))
    engine.tick()
    assert short.result.done()
    assert not long.result.done()
    run_dry(engine)
    assert operation.batch_sizes == [5] * 2 + [3] * 2 + [2] * 5
    found = [ticket.result.result()["x"].tolist() for ticket in (long, short, last)]
    assert found == [[9.0, 1.0], [2.0, 1.0], [4.0]]


def test_the_answer_is_that_of_running_alone() -> None:
    engine = count_engine(count=CountTo())
    requests = [goals(3, 8), goals(1), goals(50, 2, 2), goals(7)]
    tickets = []
    for columns in requests:
        tickets += ask(engine, "count", columns, MANY)
        engine.tick()
    run_dry(engine)
    for columns, ticket in zip(requests, tickets, strict=True):
        assert torch.equal(ticket.result.result()["x"], run(CountTo(), columns, MANY)["x"])


def test_who_is_never_done_stops_with_the_last_step() -> None:
    engine = count_engine(count=CountTo())
    (ticket,) = ask(engine, "count", goals(1, 1000), CountParams(6))
    assert run_dry(engine) == 6
    assert ticket.result.result()["x"].tolist() == [1.0, 6.0]


def test_whoever_leaves_early_makes_room() -> None:
    operation = CountTo()
    engine = count_engine(max_rows=4, count=operation)
    ask(engine, "count", goals(2, 2, 2), MANY)
    ask(engine, "count", goals(20), MANY)
    (waits,) = ask(engine, "count", goals(1, 1, 1), MANY)
    engine.tick()
    engine.tick()
    assert not waits.result.done()
    engine.tick()
    assert waits.result.result()["x"].tolist() == [1.0] * 3
    assert operation.batch_sizes == [4, 4, 4]


def test_the_parts_of_a_large_request_leave_one_by_one() -> None:
    engine = count_engine(max_rows=4, count=CountTo())
    tickets = ask(engine, "count", goals(*[1] * 4, *[30] * 4, *[2] * 3), MANY)
    engine.tick()
    assert [ticket.result.done() for ticket in tickets] == [True, False, False]
    run_dry(engine)
    found = [ticket.result.result()["x"].tolist() for ticket in tickets]
    assert found == [[1.0] * 4, [30.0] * 4, [2.0] * 3]


def test_the_steps_that_were_not_needed_are_told() -> None:
    ledger = Ledger()
    engine = Engine(ledger)
    engine.open(LaneKey("m", "count"), CountTo(), 8)
    ask(engine, "count", goals(3), MANY)
    ask(engine, "count", goals(500), MANY)
    run_dry(engine)
    assert ledger.steps_left == [97, 0]


def test_an_operation_that_does_not_say_who_is_done_fails_alone() -> None:
    class Silent(CountTo):
        """Promises a column and forgets it."""

        def step(self, rows: Rows) -> Rows:
            return {name: c for name, c in super().step(rows).items() if name != "done"}

    engine = count_engine(silent=Silent(), count=CountTo())
    (bad,) = ask(engine, "silent", goals(3), MANY)
    (good,) = ask(engine, "count", goals(3), MANY)
    run_dry(engine)
    assert good.result.result()["x"].tolist() == [3.0]
    with pytest.raises(StepFailed):
        bad.result.result()


def test_the_column_done_means_nothing_to_others() -> None:
    class Steady(CountTo):
        """Has the column, but makes no promise about it."""

        stops_early = False

    engine = count_engine(count=Steady())
    (ticket,) = ask(engine, "count", goals(2), CountParams(7))
    assert run_dry(engine) == 7
    assert ticket.result.result()["x"].tolist() == [2.0]
