"""The operation of a screen: images in, their scores out, the same bits in any company."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from models.core.contract.operation import NoParams, Operation, Rows, concat
from models.core.ood.zvalues import fisher

if TYPE_CHECKING:
    from models.core.screen.model import Screen


class Screening(Operation[NoParams]):
    """How strange an image is to a screen: score (B,), and what its components found.

    z (B, J) and scores (B, J) are theirs, category (B,) the class that the classifier sees or
    -1. Nothing is random: what parts draw, they draw from one fixed seed. Rows are looked at in
    chunks for which a row's answer was seen to be the same bits alone and in company.
    """

    outputs = ("score", "z", "scores", "category")

    def __init__(self, screen: "Screen") -> None:
        self.screen = screen
        self.graphs = tuple(screen.graphs())

    def num_steps(self, params: NoParams) -> int:
        return 1

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"x": inputs["x"].to(self.screen.device)}

    def step(self, rows: Rows) -> Rows:
        parts = [self._look(x) for x in rows["x"].split(self.screen.chunk)]
        return {"x": rows["x"], **concat(parts)}

    def finish(self, rows: Rows) -> Rows:
        return {name: rows[name] for name in self.outputs}

    def preview(self, rows: Rows) -> Tensor | None:
        return None

    def _look(self, x: Tensor) -> Rows:
        columns = self.screen.columns(x)
        scores = self.screen.raw_scores(columns)
        z = self.screen.z_values(scores)
        classifier = self.screen.config.classifier
        category = torch.full((len(x),), -1, device=x.device)
        if classifier:
            category = columns[f"{classifier}.logits"].argmax(1)
        return {
            "score": fisher(z).float(),
            "z": z.float(),
            "scores": scores.float(),
            "category": category,
        }
