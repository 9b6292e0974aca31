"""The programs of a latent-variable model whose decoder is one network call, and its encoder's."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.noise import normal, uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.latent.density import LatentDensity, ValueDecoder

PIXEL_STREAM = 1
"""Noise stream of the values; latents use stream 0."""

LatentChoice = Annotated[
    Literal["mean", "noise"],
    Field(description="the posterior's centre, or a draw by the request's seed"),
]
ValueChoice = Annotated[
    Literal["mean", "noise"],
    Field(description="expected values, or a draw by the request's seed"),
]


@dataclass(frozen=True)
class LatentEncodeParams:
    """Which z of the posterior is given."""

    latent: LatentChoice = "mean"


class LatentEncode(Operation[LatentEncodeParams]):
    """Events to latents, the centre of q(z given x) or a draw from it."""

    Params = LatentEncodeParams
    graphs = ("statistics",)

    def __init__(self, model: LatentDensity) -> None:
        self.model = model
        self.outputs = columns(z=(model.num_latents,))

    @property
    def examples(self) -> tuple[LatentEncodeParams, ...]:
        return (LatentEncodeParams(), LatentEncodeParams("noise"))

    def num_steps(self, params: LatentEncodeParams) -> int:
        return 1

    def init(self, inputs: Rows, params: LatentEncodeParams) -> Rows:
        return {
            "x": inputs["x"].to(self.model.device),
            "eps": posterior_noise(self.model, inputs["seed"], params.latent),
        }

    def step(self, rows: Rows) -> Rows:
        (statistics,) = self.model.compute("statistics", rows["x"])
        return {"z": self.model.posterior.draw(statistics, rows["eps"])[0]}


def posterior_noise(model: LatentDensity, seed: Tensor, latent: str) -> Tensor:
    """eps of a posterior's draw, 0 for its centre. Shapes: seed (B,) -> (B, D)."""
    if latent == "mean":
        return torch.zeros(len(seed), model.num_latents, device=model.device)
    return normal(seed, torch.zeros_like(seed), (model.num_latents,)).to(model.device)


class _Decoding(Operation[Any]):
    """The last steps of all programs that end in values: each row by its own choice of them."""

    def __init__(self, model: ValueDecoder) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)

    def num_steps(self, params: Any) -> int:
        return 1

    def values_by(self, inputs: Rows, params: Any) -> Rows:
        """The columns by which `decoded` chooses: uniform numbers, and whether they count."""
        seed, shape = inputs["seed"], self.model.event_shape
        return {
            "u": uniform(seed, torch.zeros_like(seed), shape, PIXEL_STREAM).to(self.model.device),
            # On the CPU, where it is decided what is computed.
            "mean": torch.full((num_rows(inputs),), params.values == "mean"),
        }

    def decoded(self, rows: Rows, z: Tensor) -> Rows:
        """Column x of latents. Shapes: z (B, D)."""
        (params,) = self.model.compute("decode", z)
        x = torch.empty_like(rows["u"])
        mean, drawn = (rows_of.nonzero()[:, 0].to(z.device) for rows_of in _both(rows["mean"]))
        x = x.index_copy(0, mean, self.model.expected(params[mean]))
        return {"x": x.index_copy(0, drawn, self.model.chosen(params[drawn], rows["u"][drawn]))}


def _both(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Where it is true, and where not. Shapes: bool (B,) -> 2 x bool (B,)."""
    return chosen, ~chosen


@dataclass(frozen=True)
class LatentSampleParams:
    """z = temperature * noise, through the prior's flow if there is one."""

    temperature: Annotated[
        float, Field(ge=0, le=10, description="standard deviation of the latent's noise")
    ] = 1.0
    values: ValueChoice = "noise"


class LatentSample(_Decoding):
    """Draw z from the prior, then the values given z."""

    Params = LatentSampleParams
    needs_events = False
    graphs = ("decode",)

    @property
    def default_params(self) -> LatentSampleParams:
        return LatentSampleParams(self.model.config.temperature)

    @property
    def examples(self) -> tuple[LatentSampleParams, ...]:
        return (LatentSampleParams(), LatentSampleParams(0.5, "mean"), LatentSampleParams(0.0))

    def init(self, inputs: Rows, params: LatentSampleParams) -> Rows:
        temperature = torch.full((num_rows(inputs),), params.temperature)
        base = self.model.drawn(inputs["seed"], temperature)
        return {"base": base, **self.values_by(inputs, params)}

    def step(self, rows: Rows) -> Rows:
        return self.decoded(rows, self.model.from_base(rows["base"]))


@dataclass(frozen=True)
class LatentDecodeParams:
    """What of p(x given z) is given."""

    values: ValueChoice = "mean"


class LatentDecode(_Decoding):
    """Latents to events."""

    Params = LatentDecodeParams
    needs_events = False
    needs_latents = True
    graphs = ("decode",)

    @property
    def examples(self) -> tuple[LatentDecodeParams, ...]:
        return (LatentDecodeParams(), LatentDecodeParams("noise"))

    def init(self, inputs: Rows, params: LatentDecodeParams) -> Rows:
        return {"z": inputs["z"].to(self.model.device), **self.values_by(inputs, params)}

    def step(self, rows: Rows) -> Rows:
        return self.decoded(rows, rows["z"])


@dataclass(frozen=True)
class ReconstructParams:
    """Which z of the posterior, and what of p(x given z)."""

    latent: LatentChoice = "mean"
    values: ValueChoice = "mean"


class Reconstruct(_Decoding):
    """Events to latents and back."""

    Params = ReconstructParams
    graphs = ("statistics", "decode")

    @property
    def examples(self) -> tuple[ReconstructParams, ...]:
        return (
            ReconstructParams(),
            ReconstructParams("noise", "noise"),
            ReconstructParams("noise", "mean"),
        )

    def init(self, inputs: Rows, params: ReconstructParams) -> Rows:
        return {
            "x": inputs["x"].to(self.model.device),
            "eps": posterior_noise(self.model, inputs["seed"], params.latent),
            **self.values_by(inputs, params),
        }

    def step(self, rows: Rows) -> Rows:
        (statistics,) = self.model.compute("statistics", rows["x"])
        z, _ = self.model.posterior.draw(statistics, rows["eps"])
        return self.decoded(rows, z)
