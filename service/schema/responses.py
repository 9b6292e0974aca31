"""What answers hold, as the API's documentation shows it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from models.core.contract.likelihood import Likelihood
from service.schema.requests import Format

Number = Annotated[float | None, Field(description="null if the model gave no finite number")]


class Timing(BaseModel):
    """Milliseconds in the service, without reading and decoding."""

    queue: float
    compute: float


class Item(BaseModel):
    """The answer about one image or row."""

    converted: list[str] = Field(description="what was changed to fit the model, if anything")


class Rated(Item):
    """A number in nats, what it is and how sure."""

    kind: Likelihood
    standard_error: float | None = Field(description="in nats; null if not known or none")
    num_samples: int | None = Field(description="draws that it is made of; null if of none")


class LogLikelihoodItem(Rated):
    """log_likelihood in nats, of the discrete pixels or counts, or a density in the vector's units.

    What kind of number it is, `kind` says.
    """

    log_likelihood: Number
    bits_per_dim: float | None = Field(description="null for real vectors and unnormalised numbers")


class EnergyItem(Rated):
    """Minus the log density in nats: low = likely; if unnormalised, within one model only."""

    energy: Number
    energies: dict[str, float | None] | None = Field(
        description="joint energy with each class; null for models without classes"
    )


class Envelope(BaseModel):
    """The envelope of every answer; `results` are in the order given."""

    model: str = Field(description="name@version")
    timing_ms: Timing


class LogLikelihoodAnswer(Envelope):
    """Per image: log likelihood."""

    results: list[LogLikelihoodItem]


class EnergyAnswer(Envelope):
    """Per image: energy."""

    results: list[EnergyItem]


class MadeAnswer(Envelope):
    """Events as base64 PNGs, or as arrays of the model's event_shape."""

    seed: int
    kind: Likelihood = Field(description="what the model's density is")
    params: dict[str, Any] = Field(description="all parameters as they were used")
    format: Format
    samples: list[Any] = Field(description="null where the model gave no finite number or image")


class SampleAnswer(MadeAnswer):
    """New events."""

    label: str | None


class DecodeAnswer(MadeAnswer):
    """Per latent: its event."""


class ReconstructItem(Item):
    """How much of an event was lost."""

    squared_error: Number = Field(description="sum over the event's values")


class ReconstructAnswer(MadeAnswer):
    """Per event: what comes back of it, in `samples`."""

    results: list[ReconstructItem]


class EncodeItem(Item):
    """z, of the model's latent_shape."""

    z: list[Any] = Field(description="null where the model gave no finite number")


class EncodeAnswer(Envelope):
    """Per event: its latent."""

    results: list[EncodeItem]
    params: dict[str, Any] = Field(description="all parameters as they were used")
    seed: int


class CompressAnswer(Envelope):
    """Images as one stream."""

    stream: str = Field(description="application/x-likely in base64")
    num_images: int
    num_bytes: int = Field(description="of the stream")
    payload_bytes: int = Field(description="of the codes in it")
    raw_bytes: int = Field(description="of the values, each in as few whole bits as hold it")
    bits_per_dim: float = Field(description="bits of the codes for each value")


class DecompressAnswer(Envelope):
    """The images of a stream, or the rows of one of vectors; the other is null."""

    num_images: int
    images: list[str] | None = Field(description="PNGs in base64")
    instances: list[Any] | None


class Problem(BaseModel):
    """RFC 9457. `type` is stable; GET it for an explanation."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="what was wrong and what is accepted")
    instance: str = Field(description="the request's id")


class ModelSummary(BaseModel):
    """One loaded model."""

    name: str
    version: str
    family: str
    default: bool
    default_screen: bool = Field(description="of /ood_score, where no model is named")
    screen: str | None = Field(
        description="name@version of the screen that decides about its classifications"
    )
    event_shape: list[int]
    likelihood: Likelihood | None = Field(description="null for screens, which have none")
    class_names: list[str]
    operations: list[str]
    scores: list[str]


class Models(BaseModel):
    """All loaded models."""

    models: list[ModelSummary]


class ModelDetails(BaseModel):
    """All that is known about one model."""

    name: str
    version: str
    family: str
    default: bool
    default_screen: bool
    screen: str | None
    event_shape: list[int]
    likelihood: Likelihood | None
    class_names: list[str]
    latent_shape: list[int] | None = Field(description="of z; null if the model has no latents")
    num_levels: int | None = Field(
        description="grey levels of pixels or counts of vectors; null if events are continuous"
    )
    preprocessing: dict[str, Any] | None = Field(description="of pictures; null for vectors")
    feature_names: list[str] = Field(description="of vectors, if they have names")
    operations: dict[str, dict[str, Any]]
    calibration: dict[str, Any]
    metrics: dict[str, float]
    provenance: dict[str, str]
    backends: dict[str, dict[str, Any]]
