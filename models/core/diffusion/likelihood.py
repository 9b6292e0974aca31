"""The likelihood of diffusion models as one operation: the variational bound, or the flow's ODE."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import event_seeds
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows, rows_at, with_rows_at
from models.core.diffusion.bound import DiffusionBound
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.ode import NUM_STAGES, FlowOde

_SOLVER_STEPS = 25


@dataclass(frozen=True)
class DiffusionLogLikelihoodParams:
    """Which number is asked for, and at what cost."""

    estimator: Annotated[
        Literal["bound", "ode"],
        Field(description="the variational bound of the chain, or the probability-flow ODE"),
    ] = "bound"
    num_steps: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="transitions of the chain (0: all T), or Runge-Kutta steps (0: 25)",
        ),
    ] = 0
    num_terms: Annotated[
        int,
        Field(ge=0, le=10_000, description="of the bound, drawn from its transitions; 0: all"),
    ] = 0
    variance: Annotated[
        Literal["beta", "posterior"],
        Field(description="of the chain's transitions, as the ancestral samplers have it"),
    ] = "beta"
    num_probes: Annotated[
        int, Field(ge=2, le=64, description="random probes of each trace of the ODE")
    ] = 2
    num_samples: Annotated[
        int, Field(ge=1, le=1000, description="passes with fresh noise, whose mean is given")
    ] = 1


class DiffusionLogLikelihood(Operation[DiffusionLogLikelihoodParams]):
    """log P of the 8-bit pixels, in nats, a network call a step.

    "bound" is a BOUND: its expectation over the noise is at most log P(x) under the chain of
    `num_steps` transitions; one pass is a draw around that. `num_terms` evaluates so many of the
    terms, and has the same expectation. The `variance` that makes it tight is "beta" where pixels
    vary as freely as the noise, "posterior" where they are all but known (Ho et al. 2020, section
    3.2). "ode" is an ESTIMATE of a bound on log P(x) under another model, which follows the
    probability flow (see `FlowOde`).

    standard_error is the spread of several passes, which holds all noise there is. Of one pass of
    the ODE it is that of the probes alone; of one pass of the bound it is NaN.
    """

    Params = DiffusionLogLikelihoodParams
    outputs = columns(log_prob=(), standard_error=())
    graphs = ("eps",)
    shares_seed = True

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        self.takes_label = model.num_classes > 0
        self.bound = DiffusionBound(model)
        self.ode = FlowOde(model)

    @property
    def examples(self) -> tuple[DiffusionLogLikelihoodParams, ...]:
        few = min(3, self.model.schedule.num_train_steps)
        params = DiffusionLogLikelihoodParams
        return (
            params(num_steps=few),
            params(num_terms=min(2, few), variance="posterior", num_samples=3),
            params("ode", num_steps=2),
            params("ode", num_steps=1, num_probes=3, num_samples=2),
        )

    def kind(self, params: DiffusionLogLikelihoodParams) -> Likelihood:
        return Likelihood.BOUND if params.estimator == "bound" else Likelihood.ESTIMATE

    def check(self, inputs: Container[str], params: DiffusionLogLikelihoodParams) -> None:
        super().check(inputs, params)
        if params.estimator == "ode":
            if params.num_terms:
                raise ValueError("num_terms: accepted is 0, since the ODE has no terms to draw")
            return
        longest = self.model.schedule.num_train_steps
        if params.num_steps > longest:
            raise ValueError(f"num_steps {params.num_steps}: accepted are 0 to {longest}")
        length = self._length(params)
        if params.num_terms and not min(2, length) <= params.num_terms <= length:
            accepted = f"0, and {min(2, length)} to {length}"
            raise ValueError(f"num_terms {params.num_terms}: accepted are {accepted}")

    def step_work(self, params: DiffusionLogLikelihoodParams) -> float:
        return 1 + params.num_probes if params.estimator == "ode" else 1

    def num_steps(self, params: DiffusionLogLikelihoodParams) -> int:
        return params.num_samples * self._pass_length(params)

    def _length(self, params: DiffusionLogLikelihoodParams) -> int:
        """Transitions of the chain, or steps of the solver."""
        usual = self.model.schedule.num_train_steps
        return params.num_steps or (usual if params.estimator == "bound" else _SOLVER_STEPS)

    def _pass_length(self, params: DiffusionLogLikelihoodParams) -> int:
        """Network calls of one pass."""
        if params.estimator == "ode":
            return NUM_STAGES * self._length(params)
        return params.num_terms or self._length(params)

    def init(self, inputs: Rows, params: DiffusionLogLikelihoodParams) -> Rows:
        x, size = inputs["x"].to(self.model.device), num_rows(inputs)
        x = self.model.grid.values(self.model.grid.levels(x)).to(x)
        is_ode = params.estimator == "ode"
        num_probes = params.num_probes if is_ode else 0
        plan = [num_probes, self._length(params), self._pass_length(params), params.num_samples]
        zero = torch.zeros(size, dtype=torch.float64, device=x.device)
        label = inputs.get("label") if self.takes_label else None
        return {
            "x": x,
            "label": (torch.full((size,), -1) if label is None else label).to(x.device),
            "seed": event_seeds(inputs["seed"], x),
            "step": torch.zeros(size, dtype=torch.int64),
            # Probes (0: the bound), steps, network calls a pass, passes: on the CPU, as step is.
            "plan": torch.tensor([plan]).repeat(size, 1),
            "is_wide": torch.full((size,), params.variance == "beta"),
            # Sums of thousands of nats, and differences of them: float32 would lose digits.
            "total": zero,
            "mean": zero,
            "squares": zero,
            "noise": zero,
            **self.ode.columns(x),
        }

    def step(self, rows: Rows) -> Rows:
        """A term of the bound, or a stage of the ODE; rows of one method share a network call."""
        probes = rows["plan"][:, 0]
        result = {**rows, "value": torch.zeros_like(rows["total"])}
        for num_probes in probes.unique().tolist():
            chosen = (probes == num_probes).nonzero()[:, 0]
            part = rows_at(rows, chosen)
            part = self._staged(part, num_probes) if num_probes else self._added(part)
            result = with_rows_at(result, chosen, part)
        return self._passed(result)

    def _staged(self, rows: Rows, num_probes: int) -> Rows:
        _, length, calls, _ = rows["plan"].unbind(1)
        staged = self.ode.stage(rows, rows["step"] % calls, length, num_probes)
        return {**staged, "noise": rows["noise"] + staged["noise"]}

    def _added(self, rows: Rows) -> Rows:
        _, length, calls, _ = rows["plan"].unbind(1)
        place = rows["step"] % calls
        index, weight = self.bound.chosen(rows, place, calls, length)
        value = self.bound.term(rows, index, length, rows["is_wide"])
        prior = torch.where((place == 0).to(value.device), self.bound.prior(rows["x"]), 0.0)
        return {"value": weight.to(value.device) * value + prior}

    def _passed(self, rows: Rows) -> Rows:
        """The rows, the step's value in the sum of its pass, whole passes in mean and squares."""
        value, device = rows.pop("value"), rows["total"].device
        step = rows["step"] + 1
        calls = rows["plan"][:, 2]
        ended, count = (step % calls == 0).to(device), (step // calls).clamp(min=1).to(device)
        total = rows["total"] + value
        away = total - rows["mean"]
        mean = rows["mean"] + away / count
        return {
            **rows,
            "step": step,
            "total": torch.where(ended, 0.0, total),
            "mean": torch.where(ended, mean, rows["mean"]),
            "squares": torch.where(ended, rows["squares"] + away * (total - mean), rows["squares"]),
        }

    def finish(self, rows: Rows) -> Rows:
        """log_prob and standard_error, (B,)."""
        num = rows["plan"][:, 3].to(rows["mean"])
        spread = (rows["squares"] / ((num - 1).clamp(min=1) * num)).sqrt()
        is_ode = (rows["plan"][:, 0] > 0).to(spread.device)
        alone = torch.where(is_ode, rows["noise"].sqrt(), torch.nan)
        error = torch.where(num > 1, spread, alone)
        return {"log_prob": rows["mean"].float(), "standard_error": error.float()}
