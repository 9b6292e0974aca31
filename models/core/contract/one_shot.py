"""A single forward pass as an operation."""

from collections.abc import Callable

import torch

from models.core.contract.columns import Columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import Servable
from models.core.contract.operation import NoParams, Operation
from models.core.contract.rows import Rows, num_rows, to_device


class OneShot(Operation[NoParams]):
    """A single forward pass, as a program of one step."""

    def __init__(
        self,
        model: Servable,
        forward: Callable[[Rows], Rows],
        *,
        outputs: Columns,
        graphs: tuple[str, ...] = (),
        takes_label: bool = False,
        likelihood: Likelihood | None = None,
    ) -> None:
        self.model = model
        self.forward = forward
        self.outputs = outputs
        self.graphs = graphs
        self.takes_label = takes_label
        self.likelihood = likelihood

    def kind(self, params: NoParams) -> Likelihood | None:
        return self.likelihood

    def num_steps(self, params: NoParams) -> int:
        return 1

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        rows = to_device(inputs, self.model.device)
        if self.takes_label and "label" not in rows:
            rows["label"] = torch.full((num_rows(rows),), -1, device=self.model.device)
        return rows

    def step(self, rows: Rows) -> Rows:
        return self.forward(rows)
