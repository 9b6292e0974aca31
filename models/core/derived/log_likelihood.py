"""What is made of any log likelihood: the energy, and for images their length in another code."""

from collections.abc import Mapping
from typing import Any

from models.core.contract.model import GenerativeModel
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.derived.around import Around, P
from models.core.derived.input_complexity import MOST_LEVELS, InputComplexity


class EnergyOf(Around[P]):
    """energy = -log_prob, by the very program that computes log_prob."""

    def __init__(self, log_likelihood: Operation[P]) -> None:
        super().__init__(log_likelihood)
        others = {n: c for n, c in log_likelihood.outputs.items() if n != "log_prob"}
        self.outputs = {"energy": log_likelihood.outputs["log_prob"], **others}

    def finish(self, rows: Rows) -> Rows:
        result = dict(self.inner.finish(rows))
        return {"energy": -result.pop("log_prob"), **result}


def likelihood_operations(
    model: GenerativeModel, log_likelihood: Operation[Any]
) -> Mapping[str, Operation[Any]]:
    """The likelihood, its energy, and for images of levels also input_complexity."""
    operations = {"log_likelihood": log_likelihood, "energy": EnergyOf(log_likelihood)}
    grid = model.grid
    if grid is None or len(model.event_shape) != 3 or grid.num_levels > MOST_LEVELS:
        return operations
    if min(model.event_shape[1:]) < 2:
        return operations
    return {**operations, "input_complexity": InputComplexity(log_likelihood, grid)}
