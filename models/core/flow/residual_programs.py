"""The likelihood of residual flows as a program: one block a step, exactly or by a cut series."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, rows_at, with_rows_at
from models.core.flow.density import FlowDensity
from models.core.flow.programs import FlowLogLikelihood, FlowLogLikelihoodParams
from models.core.transforms.residual import ResidualBlock, exact, truncated
from models.core.transforms.transform import Transform

EXACT_DIMS = 256
"""Up to so many dimensions the whole Jacobian of a block is affordable in serving."""
_PROBES = 1  # the stream of noise that dequantisation does not use


@dataclass(frozen=True)
class ResidualLogLikelihoodParams(FlowLogLikelihoodParams):
    """Importance weighting over dequantisation noise, and how the log-determinants are found."""

    log_det: Annotated[
        Literal["exact", "truncated"],
        Field(description="exact: by the whole Jacobian; truncated: an estimate by few terms"),
    ] = "exact"
    num_terms: Annotated[
        int, Field(ge=1, le=200, description="terms of the series, if truncated")
    ] = 20
    num_probes: Annotated[
        int, Field(ge=2, le=64, description="random probes of each trace, if truncated")
    ] = 8


class ResidualLogLikelihood(Operation[ResidualLogLikelihoodParams]):
    """`FlowLogLikelihood`, a block a step.

    Exact log-determinants leave its number what it is: EXACT for real vectors, else a BOUND.
    Truncated ones make it an ESTIMATE whose standard_error is that of the probes, and of the
    dequantisation noise if there are several; what the series lacks is no part of it.
    """

    Params = ResidualLogLikelihoodParams
    outputs = FlowLogLikelihood.outputs
    shares_seed = FlowLogLikelihood.shares_seed

    def __init__(
        self,
        model: FlowDensity,
        ends: tuple[Transform, Transform],
        blocks: Sequence[ResidualBlock],
    ) -> None:
        """The flow is `blocks` between the `ends`."""
        self.model = model
        self.before, self.after = ends
        self.blocks = blocks
        self.weighting = FlowLogLikelihood(model)

    @property
    def default_params(self) -> ResidualLogLikelihoodParams:
        few = self.model.num_dims <= EXACT_DIMS
        return ResidualLogLikelihoodParams(log_det="exact" if few else "truncated")

    @property
    def examples(self) -> tuple[ResidualLogLikelihoodParams, ...]:
        examples = [self.default_params]
        if self.model.grid:
            several = ResidualLogLikelihoodParams(2, "truncated", num_terms=3, num_probes=2)
            examples += [ResidualLogLikelihoodParams(3, examples[0].log_det), several]
        return (*examples, ResidualLogLikelihoodParams(log_det="truncated", num_terms=5))

    def kind(self, params: ResidualLogLikelihoodParams) -> Likelihood:
        if params.log_det == "truncated":
            return Likelihood.ESTIMATE
        return Likelihood.BOUND if self.model.grid else Likelihood.EXACT

    def check(self, inputs: Container[str], params: ResidualLogLikelihoodParams) -> None:
        self.weighting.check(inputs, params)
        if params.log_det == "exact" and self.model.num_dims > EXACT_DIMS:
            asked = f"log_det exact of {self.model.num_dims} dimensions"
            raise ValueError(f"{asked}: accepted is truncated, or at most {EXACT_DIMS} dimensions")

    def step_work(self, params: ResidualLogLikelihoodParams) -> float:
        if params.log_det == "exact":  # a row of the Jacobian for each dimension
            return self.model.num_dims
        return params.num_terms * params.num_probes

    def num_steps(self, params: ResidualLogLikelihoodParams) -> int:
        return params.num_samples * len(self.blocks)

    def init(self, inputs: Rows, params: ResidualLogLikelihoodParams) -> Rows:
        rows = self.weighting.init(inputs, params)
        size = len(rows["step"])
        num_terms = params.num_terms if params.log_det == "truncated" else 0
        # Which block, how many terms (0: exact), how many probes: rows alike share a call.
        plan = torch.tensor([[0, num_terms, params.num_probes]]).repeat(size, 1)
        columns = self._entered(rows)
        return {
            **rows,
            **columns,
            "variance": torch.zeros_like(columns["log_weight"]),
            "plan": plan,
        }

    def _entered(self, rows: Rows) -> Rows:
        """The columns that blocks change, before the first of them at a row's noise."""
        y, log_q = self.model.dequantise(rows["x"], self.weighting.noise(rows))
        h, log_abs_det = self.before(y)
        return {"h": h, "log_weight": log_abs_det - log_q}

    def step(self, rows: Rows) -> Rows:
        """A block; a row that is through adds its weight and goes on with its next noise."""
        result = rows
        for plan in rows["plan"].unique(dim=0):
            chosen = (rows["plan"] == plan).all(1).nonzero()[:, 0]
            part = self._passed(rows_at(rows, chosen), *plan.tolist())
            result = with_rows_at(result, chosen, part)
        return result

    def _passed(self, rows: Rows, block: int, num_terms: int, num_probes: int) -> Rows:
        """Rows of one block and one estimator, after that block."""
        if num_terms == 0:
            h, log_abs_det = self.blocks[block].by(exact, rows["h"])
            variance = torch.zeros_like(log_abs_det)
        else:
            h, log_abs_det, variance = self._estimated(rows, block, num_terms, num_probes)
        rows = {
            **rows,
            "h": h,
            "log_weight": rows["log_weight"] + log_abs_det,
            "variance": rows["variance"] + variance,
            "plan": rows["plan"] + torch.tensor([1, 0, 0]),
        }
        return self._weighed(rows) if block + 1 == len(self.blocks) else rows

    def _estimated(
        self, rows: Rows, block: int, num_terms: int, num_probes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h, log_abs_det and the variance of its mean over probes."""
        residual = self.blocks[block]
        x, log_abs_det = residual.enter(rows["h"])
        step = rows["step"] * len(self.blocks) + block
        u = uniform(rows["seed"], step, (num_probes, *residual.inner), _PROBES).to(x.device)
        signs = torch.where(u < 0.5, -1.0, 1.0).to(x.dtype).transpose(0, 1)
        g, values = truncated(residual.net, x, signs, num_terms)
        return (x + g).flatten(1), log_abs_det + values.mean(0), values.var(0) / num_probes

    def _weighed(self, rows: Rows) -> Rows:
        """Rows that are through all blocks: their weight in the sums, and on to the next noise."""
        z, log_abs_det = self.after(rows["h"])
        log_weight = rows["log_weight"] + log_abs_det + self.model.base.log_prob(z)
        rows = self.weighting.add(rows, log_weight)
        return {**rows, **self._entered(rows), "plan": rows["plan"] * torch.tensor([0, 1, 1])}

    def finish(self, rows: Rows) -> Rows:
        result = self.weighting.finish(rows)
        # The spread over several noises has that of their probes in it.
        estimated = (rows["plan"][:, 1] > 0).to(rows["variance"].device)
        alone = estimated & (rows["num_samples"] == 1)
        error = torch.where(alone, rows["variance"].sqrt(), result["standard_error"])
        return {**result, "standard_error": error}
