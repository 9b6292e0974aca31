"""The programs of a flow whose two directions are one network call each."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import event_seeds, normal
from models.core.contract.operation import NoParams, Operation
from models.core.contract.rows import Rows, num_rows
from models.core.flow.density import FlowDensity


@dataclass(frozen=True)
class FlowSampleParams:
    """z = temperature * noise; below 1 samples are likelier and less varied (Kingma 2018)."""

    temperature: Annotated[
        float, Field(ge=0, le=10, description="standard deviation of the latent")
    ] = 1.0


class FlowSample(Operation[FlowSampleParams]):
    """Draw z from the base and decode it."""

    Params = FlowSampleParams
    needs_events = False
    graphs = ("decode",)

    def __init__(self, model: FlowDensity) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)

    @property
    def default_params(self) -> FlowSampleParams:
        return FlowSampleParams(self.model.config.temperature)

    @property
    def examples(self) -> tuple[FlowSampleParams, ...]:
        return (FlowSampleParams(), FlowSampleParams(0.5), FlowSampleParams(0.0))

    def num_steps(self, params: FlowSampleParams) -> int:
        return 1

    def init(self, inputs: Rows, params: FlowSampleParams) -> Rows:
        return {"z": latent_noise(self.model, inputs["seed"], params.temperature)}

    def step(self, rows: Rows) -> Rows:
        (y,) = self.model.compute("decode", rows["z"])
        return {"y": y}

    def finish(self, rows: Rows) -> Rows:
        return {"x": self.model.to_event(rows["y"])}


def latent_noise(model: FlowDensity, seed: Tensor, temperature: float) -> Tensor:
    """temperature times a draw of the base. Shapes: seed (B,) -> (B, D)."""
    noise = model.base.from_normal(normal(seed, torch.zeros_like(seed), (model.num_dims,)))
    return temperature * noise.to(model.device)


class FlowDecode(Operation[NoParams]):
    """Latents to events."""

    needs_events = False
    needs_latents = True
    graphs = ("decode",)

    def __init__(self, model: FlowDensity) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)

    def num_steps(self, params: NoParams) -> int:
        return 1

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"z": inputs["z"].to(self.model.device)}

    def step(self, rows: Rows) -> Rows:
        (y,) = self.model.compute("decode", rows["z"])
        return {"y": y}

    def finish(self, rows: Rows) -> Rows:
        return {"x": self.model.to_event(rows["y"])}


@dataclass(frozen=True)
class FlowEncodeParams:
    """Where in its cell a discrete event is taken to lie."""

    dequantise: Annotated[
        Literal["centre", "noise"],
        Field(
            description="the middle of the event's cell, or noise by the request's seed; real "
            "vectors need neither"
        ),
    ] = "centre"


class FlowEncode(Operation[FlowEncodeParams]):
    """Events to latents; decoding gives the event back."""

    Params = FlowEncodeParams

    def __init__(self, model: FlowDensity) -> None:
        self.model = model
        self.outputs = columns(z=(model.num_dims,))

    @property
    def examples(self) -> tuple[FlowEncodeParams, ...]:
        return (FlowEncodeParams(), FlowEncodeParams("noise"))

    def num_steps(self, params: FlowEncodeParams) -> int:
        return 1

    def init(self, inputs: Rows, params: FlowEncodeParams) -> Rows:
        x = inputs["x"].to(self.model.device)
        eps, is_noisy = torch.zeros_like(x), params.dequantise == "noise"
        if is_noisy:
            seed = inputs["seed"]
            eps = normal(seed, torch.zeros_like(seed), self.model.event_shape).to(x.device)
        # On the CPU, where it is decided what is computed.
        return {"x": x, "eps": eps, "noisy": torch.full((num_rows(inputs),), is_noisy)}

    def step(self, rows: Rows) -> Rows:
        return {"z": self.model.flow(self.in_cells(rows))[0]}

    def in_cells(self, rows: Rows) -> Tensor:
        """The continuous variable of every row, in the middle of its cell or at its noise."""
        x, noisy = rows["x"], rows["noisy"].nonzero()[:, 0].to(rows["x"].device)
        y = self.model.centre(x)
        if len(noisy) == 0:
            return y
        return y.index_copy(0, noisy, self.model.dequantise(x[noisy], rows["eps"][noisy])[0])


@dataclass(frozen=True)
class FlowLogLikelihoodParams:
    """Importance weighting over dequantisation noise (Burda et al. 2016; Ho et al. 2019)."""

    num_samples: Annotated[
        int,
        Field(ge=1, le=1000, description="noises K; the bound tightens with K; 1 for real vectors"),
    ] = 1


class FlowLogLikelihood(Operation[FlowLogLikelihoodParams]):
    """log mean_k p(y_k) / q(y_k given x), one noise a step; EXACT in one step for real vectors.

    The noise is a function of the request's seed and the event, so that an event's number does
    not depend on its place in the request.
    """

    Params = FlowLogLikelihoodParams
    outputs = columns(log_prob=(), standard_error=())
    graphs = ("log_prob",)
    shares_seed = True

    def __init__(self, model: FlowDensity) -> None:
        self.model = model

    @property
    def examples(self) -> tuple[FlowLogLikelihoodParams, ...]:
        single = FlowLogLikelihoodParams()
        return (single, FlowLogLikelihoodParams(3)) if self.model.grid else (single,)

    def kind(self, params: FlowLogLikelihoodParams) -> Likelihood:
        return self.model.likelihood

    def check(self, inputs: Container[str], params: FlowLogLikelihoodParams) -> None:
        super().check(inputs, params)
        if self.model.grid is None and params.num_samples > 1:
            raise ValueError("num_samples: accepted is 1, since this model's density is exact")

    def num_steps(self, params: FlowLogLikelihoodParams) -> int:
        return params.num_samples

    def init(self, inputs: Rows, params: FlowLogLikelihoodParams) -> Rows:
        x = inputs["x"].to(self.model.device)
        size = num_rows(inputs)
        if self.model.grid:
            x = self.model.grid.values(self.model.grid.levels(x))
        # The error is a difference of these, which are thousands of nats: float32 would lose it.
        nothing = torch.full((size,), -torch.inf, dtype=torch.float64, device=x.device)
        return {
            "x": x,
            "seed": event_seeds(inputs["seed"], x),
            "step": torch.zeros(size, dtype=torch.int64),
            "num_samples": torch.full((size,), params.num_samples, device=x.device),
            "log_sum": nothing,
            "log_sum_of_squares": nothing,
        }

    def step(self, rows: Rows) -> Rows:
        (log_weight,) = self.model.compute("log_prob", rows["x"], self.noise(rows))
        return self.add(rows, log_weight)

    def noise(self, rows: Rows) -> Tensor:
        """The noise of each row's own step; zeros for real vectors. -> (B, *event)."""
        if self.model.grid is None:
            return torch.zeros_like(rows["x"])
        return normal(rows["seed"], rows["step"], self.model.event_shape).to(rows["x"].device)

    def add(self, rows: Rows, log_weight: Tensor) -> Rows:
        """The rows with one more noise's weight in their sums. Shapes: log_weight (B,)."""
        log_weight = log_weight.double()
        return {
            **rows,
            "step": rows["step"] + 1,
            "log_sum": torch.logaddexp(rows["log_sum"], log_weight),
            "log_sum_of_squares": torch.logaddexp(rows["log_sum_of_squares"], 2 * log_weight),
        }

    def finish(self, rows: Rows) -> Rows:
        """standard_error by the delta method; NaN where one sample cannot tell, 0 if exact."""
        num = rows["num_samples"].double()
        log_prob = (rows["log_sum"] - num.log()).float()
        if self.model.grid is None:
            return {"log_prob": log_prob, "standard_error": torch.zeros_like(log_prob)}
        ratio = (rows["log_sum_of_squares"] - 2 * rows["log_sum"] + num.log()).exp()
        variance = (ratio - 1).clamp(min=0) / (num - 1)
        error = torch.where(num > 1, variance.sqrt(), torch.nan)
        return {"log_prob": log_prob, "standard_error": error.float()}
