"""The programs of a model that draws latents first and then, given them, one pixel a step."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.rows import Rows, num_rows
from models.core.latent.density import LatentDensity
from models.core.latent.programs import PIXEL_STREAM, LatentChoice, posterior_noise
from models.core.pixelcnn.cached_net import CachedPixelNet
from models.core.pixelcnn.sampler import PixelSample, PixelSampleParams


class PixelsGivenLatents(PixelSample):
    """The pixels of p(x given z), as `PixelSample` draws them.

    A row's first step finds its latents and their feature maps, which its other steps look up in
    column features (B, H, W, F).
    """

    given = ("features",)
    stream = PIXEL_STREAM

    model: LatentDensity

    def __init__(self, model: LatentDensity, net: CachedPixelNet, temperature: float) -> None:
        super().__init__(model, net, temperature)

    @abstractmethod
    def latents(self, rows: Rows) -> Tensor:
        """z of rows that begin. -> (B, D)."""

    def init(self, inputs: Rows, params: Any) -> Rows:
        rows = super().init(inputs, params)
        _, height, width = self.model.event_shape
        size = (num_rows(inputs), height, width, self.net.num_features)
        return {**rows, "features": rows["x"].new_zeros(size)}

    def step(self, rows: Rows) -> Rows:
        begin = (rows["step"] == 0).nonzero()[:, 0]
        if len(begin):
            device = rows["x"].device
            z = self.latents(
                {name: column[begin.to(column.device)] for name, column in rows.items()}
            )
            (features,) = self.model.compute("features", z)
            features = rows["features"].index_copy(0, begin.to(device), features)
            rows = {**rows, "features": features}
        return super().step(rows)


@dataclass(frozen=True)
class PixelLatentSampleParams(PixelSampleParams):
    """Temperatures of the pixels and of the latents before them."""

    latent_temperature: Annotated[
        float, Field(ge=0, le=10, description="standard deviation of the latent's noise")
    ] = 1.0


class PixelLatentSample(PixelsGivenLatents):
    """Draw z from the prior, then the pixels given z."""

    Params = PixelLatentSampleParams
    graphs = ("features", "row", "pixel")

    @property
    def default_params(self) -> PixelLatentSampleParams:
        return PixelLatentSampleParams(self.temperature, self.model.config.temperature)

    @property
    def examples(self) -> tuple[PixelLatentSampleParams, ...]:
        return (
            PixelLatentSampleParams(),
            PixelLatentSampleParams(0.5, 0.7),
            PixelLatentSampleParams(1.5, 0.0),
        )

    def init(self, inputs: Rows, params: Any) -> Rows:
        seed, rows = inputs["seed"], super().init(inputs, params)
        spread = torch.full((len(seed),), params.latent_temperature)
        return {**rows, "base": self.model.drawn(seed, spread).to(rows["x"])}

    def latents(self, rows: Rows) -> Tensor:
        return self.model.from_base(rows["base"])


class PixelLatentDecode(PixelsGivenLatents):
    """Latents to events: the pixels given z are drawn by the request's seed."""

    needs_latents = True
    graphs = ("features", "row", "pixel")

    def init(self, inputs: Rows, params: Any) -> Rows:
        return {**super().init(inputs, params), "z": inputs["z"].to(self.model.device)}

    def latents(self, rows: Rows) -> Tensor:
        return rows["z"]


@dataclass(frozen=True)
class PixelReconstructParams(PixelSampleParams):
    """Temperature of the pixels, and which z of the posterior they are given."""

    latent: LatentChoice = "mean"


class PixelReconstruct(PixelsGivenLatents):
    """Events to latents, then pixels given these."""

    Params = PixelReconstructParams
    needs_events = True
    graphs = ("statistics", "features", "row", "pixel")

    @property
    def default_params(self) -> PixelReconstructParams:
        return PixelReconstructParams(self.temperature)

    @property
    def examples(self) -> tuple[PixelReconstructParams, ...]:
        return (PixelReconstructParams(), PixelReconstructParams(0.5, "noise"))

    def init(self, inputs: Rows, params: Any) -> Rows:
        return {
            **super().init(inputs, params),
            "event": inputs["x"].to(self.model.device),
            "eps": posterior_noise(self.model, inputs["seed"], params.latent),
        }

    def latents(self, rows: Rows) -> Tensor:
        (statistics,) = self.model.compute("statistics", rows["event"])
        return self.model.posterior.draw(statistics, rows["eps"])[0]
