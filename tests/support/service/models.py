"""Tiny models for the tests of the service, and operations that misbehave on demand."""

from dataclasses import dataclass
from typing import Any

import torch

from models.core.contract.columns import columns
from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from service.engine.engine import Engine
from service.engine.messages import LaneKey, Submit
from service.engine.ticket import Observer, Ticket


def tiny_model(name: str, seed: int = 0, log_z: float | None = None) -> GenerativeModel:
    """A model of this family's default config with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    module = family(name)
    model: GenerativeModel = module.Model(module.Config())
    if log_z is not None:
        buffers = dict(model.named_buffers())
        buffers["log_z"].fill_(log_z)
        buffers["log_z_standard_error"].fill_(0.25)
    return model.eval().requires_grad_(False)


def engine_of(model: GenerativeModel, max_rows: int = 64) -> Engine:
    """An engine with a lane for each operation of one model, called m."""
    return count_engine(max_rows, observer=None, **model.operations())


def inputs(num: int, seed: int = 0, **columns: torch.Tensor) -> Rows:
    """The columns every request has, and more."""
    return {"seed": row_seeds(seed, num), **columns}


def images(num: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Random events in [0, 1]. -> (num, *shape)."""
    return torch.rand(num, *shape, generator=torch.Generator().manual_seed(seed))


def ask(engine: Engine, operation: str, columns: Rows, params: Any) -> list[Ticket]:
    """Submit a request of model m; its tickets."""
    tickets = engine.tickets(Submit(0, LaneKey("m", operation), columns, params))
    engine.submit(tickets)
    return tickets


def run_dry(engine: Engine, max_ticks: int = 10_000) -> int:
    """Turn the crank until nothing is left to do; how many steps that took."""
    for num_ticks in range(max_ticks):
        if not engine.tick():
            return num_ticks
    raise AssertionError(f"still busy after {max_ticks} ticks")


@dataclass(frozen=True)
class CountParams:
    """How long a `Count` runs."""

    num_steps: int = 1


class Count(Operation[CountParams]):
    """Adds 1 to the column x each step; NaN in x is poison, in `init`, `step` or `finish`."""

    Params = CountParams
    examples = (CountParams(), CountParams(3))
    outputs = columns(x=())

    def __init__(self, poisoned: str = "step") -> None:
        self.poisoned = poisoned
        self.batch_sizes: list[int] = []

    def num_steps(self, params: CountParams) -> int:
        return params.num_steps

    def init(self, inputs: Rows, params: CountParams) -> Rows:
        self._taste(inputs, "init")
        return {"x": inputs["x"]}

    def step(self, rows: Rows) -> Rows:
        self.batch_sizes.append(num_rows(rows))
        self._taste(rows, "step")
        return {"x": rows["x"] + 1}

    def finish(self, rows: Rows) -> Rows:
        self._taste(rows, "finish")
        return rows

    def _taste(self, rows: Rows, where: str) -> None:
        if where == self.poisoned and bool(rows["x"].isnan().any()):
            raise RuntimeError("poison")


def count_engine(
    max_rows: int = 64, *, observer: Observer | None = None, **operations: Operation[Any]
) -> Engine:
    """An engine with lanes of model m for these operations."""
    engine = Engine(observer)
    for name, operation in operations.items():
        engine.open(LaneKey("m", name), operation, max_rows)
    return engine


class Failing(Count):
    """Always fails."""

    needs_events = False

    def num_steps(self, params: Any) -> int:
        return 1

    def step(self, rows: Any) -> Any:
        raise RuntimeError("always")


def states(operation: Any, rows: Rows, params: Any) -> list[torch.Tensor]:
    """Column x after each step."""
    rows, found = operation.init(rows, params), []
    for _ in range(operation.num_steps(params)):
        with torch.no_grad():
            rows = operation.step(rows)
        found.append(rows["x"])
    return found
