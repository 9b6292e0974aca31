"""Minus the energy as a log likelihood, normalised where log Z was estimated."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood, log_cell_volume
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.energy.density import EnergyDensity


@dataclass(frozen=True)
class EnergyLikelihoodParams:
    """How the unknown constant log Z is treated."""

    estimator: Literal["none", "ais"] = "none"
    """none: -energy, unnormalised. ais: minus log Z by annealed importance sampling."""


class EnergyLikelihood(Operation[EnergyLikelihoodParams]):
    """-E(x), or with estimator "ais" the estimated log probability of the 8-bit pixels, nats.

    log Z was estimated once, when the bundle was made; its standard error is the same for all
    images, since the error is in the constant.
    """

    Params = EnergyLikelihoodParams
    outputs = columns(log_prob=(), standard_error=())
    graphs = ("logits",)

    def __init__(self, model: EnergyDensity) -> None:
        self.model = model

    @property
    def examples(self) -> tuple[EnergyLikelihoodParams, ...]:
        none = EnergyLikelihoodParams()
        known = not bool(self.model.log_z.isnan())
        return (none, EnergyLikelihoodParams("ais")) if known else (none,)

    def kind(self, params: EnergyLikelihoodParams) -> Likelihood:
        return Likelihood.ESTIMATE if params.estimator == "ais" else Likelihood.UNNORMALISED

    def check(self, inputs: Any, params: EnergyLikelihoodParams) -> None:
        super().check(inputs, params)
        if params.estimator == "ais" and bool(self.model.log_z.isnan()):
            raise ValueError('this bundle holds no log Z: accepted is estimator "none"')

    def num_steps(self, params: EnergyLikelihoodParams) -> int:
        return 1

    def init(self, inputs: Rows, params: EnergyLikelihoodParams) -> Rows:
        x = inputs["x"].to(self.model.device)
        log_z, error = torch.zeros(()), torch.full((), float("nan"))
        if params.estimator == "ais":
            log_z = self.model.log_z.cpu() - log_cell_volume(self.model.num_dims)
            error = self.model.log_z_standard_error.cpu()
        return {
            "x": x,
            "log_z": log_z.expand(num_rows(inputs)).to(x.device),
            "standard_error": error.expand(num_rows(inputs)).to(x.device),
        }

    def step(self, rows: Rows) -> Rows:
        _, energy = self.model.compute("logits", rows["x"])
        return {**rows, "log_prob": -energy - rows["log_z"]}

    def finish(self, rows: Rows) -> Rows:
        return {name: rows[name] for name in self.outputs}
