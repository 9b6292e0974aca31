"""What requests may say, as the API's documentation shows it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.core.calibration.rule import Guarantee

Format = Literal["png", "arrays"]


class Fields(BaseModel):
    """Unknown fields are refused, and NaN and infinity are no numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None,
        max_length=128,
        description="name or name@version of a loaded model; absent: the default",
        examples=["jem_fashion-mnist"],
    )

    @property
    def pictures(self) -> list[str] | None:
        """Images as text."""
        return None

    @property
    def lists(self) -> list[Any] | None:
        """Rows as nested lists of numbers."""
        return None


class EventRequest(Fields):
    """About images, or about events given as arrays."""

    images: list[str] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="pictures (PNG, JPEG, WEBP, GIF, BMP, TIFF) as base64 or data: URLs",
        json_schema_extra={"items": {"type": "string", "contentEncoding": "base64"}},
    )
    instances: list[Any] | None = Field(
        None,
        min_length=1,
        description="nested lists of numbers, one entry per event, each of the model's "
        "event_shape; images hold numbers in [0, 1]",
    )

    @property
    def pictures(self) -> list[str] | None:
        return self.images

    @property
    def lists(self) -> list[Any] | None:
        return self.instances


Label = Annotated[
    Annotated[int, Field(strict=True, ge=0)] | Annotated[str, Field(max_length=128)] | None,
    Field(
        description="class name, or class index where no class is named by a number; absent: none"
    ),
]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Alpha = Annotated[
    float,
    Field(
        gt=0,
        lt=1,
        description="false-alarm rate: the share of images like the calibration set that is "
        "flagged; at least 1 / (N + 1) for N calibration images",
    ),
]
ScoreName = Annotated[
    str | None,
    Field(max_length=64, description="one of the model's calibrated scores; absent: its first"),
]
Params = Annotated[
    dict[str, Any],
    Field(description="parameters of the operation, see GET /models/{name}; absent: its defaults"),
]


ProgressEvery = Annotated[
    int | None,
    Field(
        ge=1,
        description="of an event stream or an animation: steps from one picture to the next; "
        "absent: about a 32nd",
    ),
]


class MakeRequest(Fields):
    """What all endpoints take whose answers are events."""

    params: Params = {}
    format: Format = Field("png", description="how samples look in a JSON answer")
    progress_every: ProgressEvery = None
    frame_ms: int = Field(
        100,
        ge=20,
        le=10_000,
        description="of an animation: how long a frame is shown; the last one stays 2 s at least",
    )


class SampleRequest(MakeRequest, EventRequest):
    """What to draw. `images` or `instances` are the starts of params.start = "data"."""

    num_samples: int | None = Field(
        None, ge=1, description="absent: one, or one per image", examples=[16]
    )
    seed: Seed | None = Field(
        None,
        description="the same seed, bundle and params give the same samples; absent: a random "
        "one, which the answer tells",
        examples=[7],
    )
    label: Label = None
    params: Params = Field({}, examples=[{"num_steps": 60}])


class LogLikelihoodRequest(EventRequest):
    """What to rate, given a class if `label` names one and the model takes it."""

    label: Label = None
    params: Params = Field({}, examples=[{"estimator": "ais"}])
    seed: Seed = Field(0, description="of estimators that draw random numbers")


class EnergyRequest(EventRequest):
    """What to rate, jointly with a class if `label` names one."""

    label: Label = None
    params: Params = {}
    seed: Seed = Field(0, description="of estimators that draw random numbers")


class ScreenRequest(EventRequest):
    """By which score, and with which promise, events are judged."""

    alpha: Alpha = 0.05
    score: ScoreName = None
    guarantee: Guarantee = Field(
        "marginal",
        description="of the rate alpha: on average over draws of the calibration set, with "
        "confidence 1 - delta for this very set (pac), or on average within each predicted class",
    )
    delta: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="of pac: the share of calibration sets that break the promise; of others: 1 - "
        "the confidence of the bound that the answer states",
    )


class OodScoreRequest(ScreenRequest):
    """What to screen; without a model the default screen does it."""


class ClassifyRequest(ScreenRequest):
    """What to classify; images whose p_value is at most alpha are uncertain.

    Without a score the screen that was made for the model decides, if one is loaded.
    """


class EncodeRequest(EventRequest):
    """What to encode."""

    params: Params = {}
    seed: Seed = Field(
        0, description="of the noise that fills the cells of discrete events, and of a posterior's"
    )


class DecodeRequest(MakeRequest):
    """What to decode."""

    latents: list[Any] | None = Field(
        None,
        min_length=1,
        description="nested lists of numbers, one entry per latent, each of the model's "
        "latent_shape",
    )
    seed: Seed = Field(0, description="of decoders that draw random numbers")

    @property
    def lists(self) -> list[Any] | None:
        return self.latents


class ReconstructRequest(MakeRequest, EventRequest):
    """What to reconstruct."""

    seed: Seed = Field(0, description="of latents or values that are drawn")


class CompressRequest(EventRequest):
    """What to compress."""


class DecompressRequest(Fields):
    """What to decompress; the stream says by which model."""

    stream: str | None = Field(
        None,
        description="an answer of /compress in base64",
        json_schema_extra={"contentEncoding": "base64"},
    )
    progress_every: ProgressEvery = None
