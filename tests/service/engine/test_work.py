"""Steps stay short whatever the params: rows with dear ones share a step with fewer."""

import torch

from models.core.contract.operation import run
from models.core.diffusion.likelihood import DiffusionLogLikelihoodParams
from models.core.flow.residual_programs import ResidualLogLikelihoodParams
from service.engine.engine import Engine
from service.engine.messages import LaneKey
from tests.support.service.models import Count, CountParams, ask, inputs, run_dry, tiny_model


class Dear(Count):
    """A step of a row costs as much as there are steps to do."""

    def step_work(self, params: CountParams) -> float:
        return params.num_steps


def dear_engine(operation: Dear, max_rows: int = 8, max_work: float = 8.0) -> Engine:
    engine = Engine()
    engine.open(LaneKey("m", "count"), operation, max_rows, max_work)
    return engine


def test_no_step_takes_more_work_than_it_may() -> None:
    operation = Dear()
    engine = dear_engine(operation)
    x = torch.arange(12.0)
    tickets = ask(engine, "count", inputs(12, x=x), CountParams(3))
    run_dry(engine)
    assert max(operation.batch_sizes) == 2
    got = torch.cat([ticket.result.result()["x"] for ticket in tickets])
    assert torch.equal(got, run(Dear(), inputs(12, x=x), CountParams(3))["x"])


def test_a_row_that_costs_more_than_a_step_runs_alone() -> None:
    operation = Dear()
    engine = dear_engine(operation)
    for num_steps in (1, 50, 1):
        ask(engine, "count", inputs(2, x=torch.zeros(2)), CountParams(num_steps))
    run_dry(engine)
    assert sorted(operation.batch_sizes) == [*[1] * 100, 2, 2]


def test_probes_are_work() -> None:
    ddpm = tiny_model("ddpm").operations()["log_likelihood"]
    few, many = (DiffusionLogLikelihoodParams("ode", num_probes=n) for n in (2, 64))
    assert ddpm.step_work(many) == 65 / 3 * ddpm.step_work(few)
    assert ddpm.step_work(DiffusionLogLikelihoodParams()) == 1
    residual = tiny_model("residual_flow").operations()["log_likelihood"]
    longer = ResidualLogLikelihoodParams(log_det="truncated", num_terms=200, num_probes=64)
    assert residual.step_work(longer) == 200 * 64
