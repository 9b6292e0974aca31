"""Watching work in progress: who is shown what, and that nobody else notices."""

import pytest
import torch
from torch import Tensor

from models.core.contract.rows import Rows
from service.engine.engine import Engine
from service.engine.messages import LaneKey, Previews, Submit
from service.engine.ticket import Observer, Ticket
from tests.support.models.cases import OPERATIONS, cases_of
from tests.support.service.models import Count, CountParams, count_engine, inputs, run_dry

LANE = LaneKey("m", "count")
DRAWN = [
    case for subject, name in OPERATIONS if name == "sample" for case in cases_of(subject, name)
]


class Looker(Observer):
    """Keeps all that it is shown of each request: first row, steps done, x."""

    def __init__(self) -> None:
        self.looks: dict[int, list[tuple[int, int, list[float] | None]]] = {}

    def previewed(self, ticket: Ticket, x: Tensor | None) -> None:
        looks = self.looks.setdefault(ticket.request, [])
        looks.append((ticket.first_row, ticket.steps_done, None if x is None else x.tolist()))


def submit(
    engine: Engine, start: list[float], num_steps: int, every: int | None, request: int = 0
) -> Ticket:
    """A request for counting, with a preview every so many steps; its first ticket."""
    columns = inputs(len(start), x=torch.tensor(start))
    previews = None if every is None else Previews(every)
    tickets = engine.tickets(Submit(request, LANE, columns, CountParams(num_steps), previews))
    engine.submit(tickets)
    return tickets[0]


@pytest.mark.parametrize(("every", "steps"), [(1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (7, None)])
def test_a_look_every_so_many_steps_but_none_at_the_end(
    every: int, steps: list[int] | None
) -> None:
    looker = Looker()
    engine = count_engine(observer=looker, count=Count())
    ticket = submit(engine, [10.0], 7, every)
    run_dry(engine)
    expected = {0: [(0, step, [10.0 + step]) for step in steps]} if steps else {}
    assert looker.looks == expected
    assert ticket.result.result()["x"].tolist() == [17.0]


def test_each_sees_its_own_rows_whoever_else_is_in_the_batch() -> None:
    looker = Looker()
    engine = count_engine(observer=looker, count=Count())
    submit(engine, [0.0, 1.0], 5, 2, request=1)
    engine.tick()
    submit(engine, [50.0], 9, None, request=2)
    submit(engine, [100.0], 3, 1, request=3)
    run_dry(engine)
    assert looker.looks == {
        1: [(0, 2, [2.0, 3.0]), (0, 4, [4.0, 5.0])],
        3: [(0, 1, [101.0]), (0, 2, [102.0])],
    }


def test_the_parts_of_a_split_request_say_where_they_belong() -> None:
    looker = Looker()
    engine = count_engine(2, observer=looker, count=Count())
    submit(engine, [0.0, 10.0, 20.0, 30.0, 40.0], 2, 1)
    run_dry(engine)
    assert looker.looks == {0: [(0, 1, [1.0, 11.0]), (2, 1, [21.0, 31.0]), (4, 1, [41.0])]}


def test_who_has_gone_is_shown_nothing() -> None:
    looker = Looker()
    engine = count_engine(observer=looker, count=Count())
    ticket = submit(engine, [0.0], 5, 1)
    engine.tick()
    ticket.result.cancel()
    run_dry(engine)
    assert len(looker.looks[0]) == 1


@pytest.mark.parametrize("at_most", [4, 64])
def test_many_previews_become_every_second_one_again_and_again(at_most: int) -> None:
    """As many as a keeper of at most so many would have left, and one that it then thins out."""
    every, kept = 1, list[int]()
    previews = Previews(1, at_most=at_most)
    for step in range(1, 20 * at_most):
        assert previews.due(step) == (step % every == 0)
        if step % every == 0:
            kept.append(step)
        if len(kept) > at_most:
            every *= 2
            kept = [n for n in kept if n % every == 0]
    assert every >= 16


class Hidden(Count):
    """Has nothing to show, and breaks a test that asks in vain."""

    asked = 0

    def preview(self, rows: Rows) -> Tensor | None:
        self.asked += 1
        return None


def test_progress_without_a_picture_is_progress() -> None:
    operation, looker = Hidden(), Looker()
    engine = count_engine(observer=looker, count=operation)
    submit(engine, [0.0], 5, 2)
    submit(engine, [0.0], 9, None)
    run_dry(engine)
    assert looker.looks == {0: [(0, 2, None), (0, 4, None)]}
    assert operation.asked == 2


def test_what_is_shown_of_a_sample_is_an_event() -> None:
    for case in DRAWN:
        operation = case.operation
        with torch.no_grad():
            rows = operation.step(operation.init(case.inputs(3), case.params))
            seen = operation.preview(rows)
        assert seen is None or seen.shape == (3, *case.model.event_shape), case


def test_an_operation_shows_its_column_x() -> None:
    x = torch.arange(3.0)
    assert Count().preview({"x": x}) is x
    assert Count().preview({"z": x}) is None
