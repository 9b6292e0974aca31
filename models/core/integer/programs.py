"""The programs of an integer flow: every answer is one pass, in float64."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import uniform
from models.core.contract.operation import NoParams, Operation
from models.core.contract.rows import Rows

P = TypeVar("P")


class InFloat64(Operation[P]):
    """One step, by a copy of the model in float64, so that rounding does not depend on company."""

    def __init__(self, model: Any) -> None:
        """`model` has log_prob, encode, decode, draw, and such a copy of itself, `precise()`."""
        self.model = model

    @cached_property
    def precise(self) -> Any:
        """The model's copy in float64; made at the first step, when the weights are in place."""
        return self.model.precise()

    def num_steps(self, params: P) -> int:
        return 1

    def event(self, levels: Tensor) -> Tensor:
        """Pixels of levels; those out of range become the nearest. Shapes: (B, C, H, W), same."""
        grid = self.model.grid
        x: Tensor = grid.values(levels.clamp(0, grid.num_levels - 1).long())
        # No level stands for NaN, and as an integer it would be some huge number.
        return torch.where(levels.isnan(), torch.nan, x)


class IntegerLogLikelihood(InFloat64[NoParams]):
    """log P of the pixels, exact."""

    outputs = columns(log_prob=())

    def kind(self, params: NoParams) -> Likelihood:
        return Likelihood.EXACT

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"x": inputs["x"].to(self.model.device)}

    def step(self, rows: Rows) -> Rows:
        return {"log_prob": self.precise.log_prob(rows["x"].double()).float()}


class IntegerEncode(InFloat64[NoParams]):
    """Images to latents, whole numbers; decoding gives the image back, to the last pixel."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.outputs = columns(z=model.latent_shape)

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"x": inputs["x"].to(self.model.device)}

    def step(self, rows: Rows) -> Rows:
        return {"z": self.precise.encode(rows["x"].double()).float()}


class IntegerDecode(InFloat64[NoParams]):
    """Latents to images. Latents that no image has may lead out of range, and are cut off there."""

    needs_events = False
    needs_latents = True

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.outputs = columns(x=model.event_shape)

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"z": inputs["z"].to(self.model.device)}

    def step(self, rows: Rows) -> Rows:
        return {"x": self.event(self.precise.decode(rows["z"].double()))}


@dataclass(frozen=True)
class IntegerSampleParams:
    """How far samples may stray."""

    temperature: Annotated[
        float, Field(ge=0, le=10, description="factor of the prior's scales; 1 is the model")
    ] = 1.0


class IntegerSample(InFloat64[IntegerSampleParams]):
    """Draw every part of z given those before it. Pixels out of range become the nearest level."""

    Params = IntegerSampleParams
    needs_events = False

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.outputs = columns(x=model.event_shape)

    @property
    def default_params(self) -> IntegerSampleParams:
        return IntegerSampleParams(self.model.config.temperature)

    @property
    def examples(self) -> tuple[IntegerSampleParams, ...]:
        return (IntegerSampleParams(), IntegerSampleParams(0.5), IntegerSampleParams(0.0))

    def init(self, inputs: Rows, params: IntegerSampleParams) -> Rows:
        seed = inputs["seed"]
        u = uniform(seed, torch.zeros_like(seed), (self.model.num_dims, 2))
        temperature = torch.full((len(seed),), params.temperature)
        return {"u": u.to(self.model.device), "temperature": temperature.to(self.model.device)}

    def step(self, rows: Rows) -> Rows:
        levels = self.precise.draw(rows["u"].double(), rows["temperature"].double())
        return {"x": self.event(levels)}
