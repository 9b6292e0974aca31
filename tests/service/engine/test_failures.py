"""The engine when an operation fails: who is hurt, and that nobody else is."""

import pytest
import torch

from models.core.contract.rows import Rows
from service.errors import ServiceError, ShuttingDown, StepFailed
from tests.support.service.models import Count, CountParams, ask, count_engine, inputs, run_dry


@pytest.mark.parametrize("where", ["init", "step", "finish"])
def test_a_poisoned_request_fails_alone(where: str) -> None:
    engine = count_engine(count=Count(where))
    columns = [torch.zeros(2), torch.full((2,), torch.nan), torch.ones(1)]
    tickets = [
        ask(engine, "count", inputs(len(x), x=x), CountParams(num_steps))[0]
        for x, num_steps in zip(columns, (1, 3, 4), strict=True)
    ]
    run_dry(engine)
    assert tickets[0].result.result()["x"].tolist() == [1.0, 1.0]
    assert tickets[2].result.result()["x"].tolist() == [5.0]
    with pytest.raises(StepFailed, match="count: RuntimeError"):
        tickets[1].result.result()


def test_a_failing_operation_does_not_stop_other_lanes() -> None:
    engine = count_engine(good=Count(), bad=Count())
    (bad,) = ask(engine, "bad", inputs(1, x=torch.tensor([torch.nan])), CountParams(9))
    (good,) = ask(engine, "good", inputs(1, x=torch.zeros(1)), CountParams(3))
    assert run_dry(engine) == 4
    assert isinstance(bad.result.exception(), StepFailed)
    assert good.result.result()["x"].tolist() == [3.0]


class Shrinking(Count):
    """Loses rows in a step, against its promise."""

    def step(self, rows: Rows) -> Rows:
        return {"x": rows["x"][:1]}


def test_an_operation_that_loses_rows_fails_its_lane_only() -> None:
    engine = count_engine(good=Count(), bad=Shrinking())
    tickets = [ask(engine, "bad", inputs(2, x=torch.zeros(2)), CountParams(1)) for _ in range(2)]
    (good,) = ask(engine, "good", inputs(1, x=torch.zeros(1)), CountParams(1))
    run_dry(engine)
    assert all(isinstance(part.result.exception(), StepFailed) for (part,) in tickets)
    assert good.result.done()


def test_rows_of_another_form_fail_alone() -> None:
    engine = count_engine(count=Count())
    (fine,) = ask(engine, "count", inputs(1, x=torch.zeros(1)), CountParams(2))
    (wide,) = ask(engine, "count", inputs(1, x=torch.zeros(1, 7)), CountParams(2))
    run_dry(engine)
    assert isinstance(wide.result.exception(), StepFailed)
    assert fine.result.result()["x"].tolist() == [2.0]


def test_fail_answers_everybody() -> None:
    engine = count_engine(max_rows=2, count=Count())
    tickets = ask(engine, "count", inputs(6, x=torch.zeros(6)), CountParams(5))
    engine.tick()
    engine.fail(ShuttingDown("over"))
    assert all(isinstance(ticket.result.exception(), ServiceError) for ticket in tickets)
    assert not engine.tick()
