"""Watching work in progress: who is shown what, and that nobody else notices."""

import pytest
import torch
from torch import Tensor

from models.core.contract.rows import Rows
from service.engine.engine import Engine
from service.engine.ticket import LaneKey, Ticket, Viewer
from tests.support.models.cases import CASES, Case, title
from tests.support.service.models import Count, CountParams, count_engine, inputs, run_dry

LANE = LaneKey("m", "count")
DRAWN = [case for case in CASES if case.name == "sample"]


class Looker(Viewer):
    """Keeps all that it is shown: first row, steps done, x."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.looks: list[tuple[int, int, list[float] | None]] = []

    def show(self, ticket: Ticket, x: Tensor | None) -> None:
        self.looks.append((ticket.first_row, ticket.steps_done, None if x is None else x.tolist()))


def submit(engine: Engine, start: list[float], num_steps: int, viewer: Viewer | None) -> Ticket:
    """A request for counting; its first ticket."""
    columns = inputs(len(start), x=torch.tensor(start))
    tickets = engine.tickets(LANE, columns, CountParams(num_steps), viewer)
    engine.submit(tickets)
    return tickets[0]


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, [])])
def test_a_look_every_so_many_steps_but_none_at_the_end(every: int, steps: list[int]) -> None:
    engine, viewer = count_engine(count=Count()), Looker(every)
    ticket = submit(engine, [10.0], 7, viewer)
    run_dry(engine)
    assert viewer.looks == [(0, step, [10.0 + step]) for step in steps]
    assert ticket.result.result()["x"].tolist() == [17.0]


def test_each_sees_its_own_rows_whoever_else_is_in_the_batch() -> None:
    engine, early, late = count_engine(count=Count()), Looker(2), Looker(1)
    submit(engine, [0.0, 1.0], 5, early)
    engine.tick()
    submit(engine, [50.0], 9, None)
    submit(engine, [100.0], 3, late)
    run_dry(engine)
    assert early.looks == [(0, 2, [2.0, 3.0]), (0, 4, [4.0, 5.0])]
    assert late.looks == [(0, 1, [101.0]), (0, 2, [102.0])]


def test_the_parts_of_a_split_request_say_where_they_belong() -> None:
    engine, viewer = count_engine(2, count=Count()), Looker(1)
    submit(engine, [0.0, 10.0, 20.0, 30.0, 40.0], 2, viewer)
    run_dry(engine)
    assert viewer.looks == [(0, 1, [1.0, 11.0]), (2, 1, [21.0, 31.0]), (4, 1, [41.0])]


def test_who_has_gone_is_shown_nothing() -> None:
    engine, viewer = count_engine(count=Count()), Looker(1)
    ticket = submit(engine, [0.0], 5, viewer)
    engine.tick()
    ticket.result.cancel()
    run_dry(engine)
    assert len(viewer.looks) == 1


class Hidden(Count):
    """Has nothing to show, and breaks a test that asks in vain."""

    asked = 0

    def preview(self, rows: Rows) -> Tensor | None:
        self.asked += 1
        return None


def test_progress_without_a_picture_is_progress() -> None:
    operation, viewer = Hidden(), Looker(2)
    engine = count_engine(count=operation)
    submit(engine, [0.0], 5, viewer)
    submit(engine, [0.0], 9, None)
    run_dry(engine)
    assert viewer.looks == [(0, 2, None), (0, 4, None)]
    assert operation.asked == 2


@pytest.mark.parametrize("case", DRAWN, ids=title)
def test_what_is_shown_of_a_sample_is_an_event(case: Case) -> None:
    operation = case.operation
    with torch.no_grad():
        rows = operation.step(operation.init(case.inputs(3), case.params))
        seen = operation.preview(rows)
    if seen is not None:
        assert seen.shape == (3, *case.model.event_shape)


def test_an_operation_shows_its_column_x() -> None:
    x = torch.arange(3.0)
    assert Count().preview({"x": x}) is x
    assert Count().preview({"z": x}) is None
