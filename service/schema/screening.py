"""What the answers of screening and classification hold, as the API's documentation shows it."""

from typing import Literal

from pydantic import BaseModel, Field

from models.core.calibration.rule import Guarantee
from service.schema.responses import Envelope, Item, Number


class Calibrated(BaseModel):
    """What a p_value is measured against, and what that promises."""

    score_name: str
    num_images: int
    source: str
    mode: Guarantee
    delta: float
    k_star: int | None = Field(
        description="of pac: alarms have p_value <= k_star / (num_images + 1); null of others"
    )
    effective_alpha: float | None = Field(
        description="the largest p_value that is an alarm; null if that depends on the class"
    )
    rate_bound: float | None = Field(
        description="the rate of false alarms with this very calibration set is below it, with "
        "confidence 1 - delta; null if that depends on the class"
    )
    guarantee: str


class ComponentScore(BaseModel):
    """One of the scores that a screen combines."""

    score: Number
    z: Number = Field(description="as a standard normal quantile of in-distribution images")


class OodScoreItem(Item):
    """Higher score = stranger, lower p_value = stranger."""

    score: Number
    p_value: float
    is_ood: bool = Field(description="p_value <= effective_alpha; within classes, <= alpha")
    threshold: float = Field(description="scores above it are alarms; within classes, the class's")
    score_name: str
    alpha: float
    standard_error: float | None = Field(
        description="of the score, if it is random; with fixed seeds: the same event, the same one"
    )
    category: str | None = Field(description="the class that a screen sees; null without one")
    components: dict[str, ComponentScore] | None = Field(
        description="by score, what a screen's score is made of; null for others"
    )


class ClassifyItem(Item):
    """The likeliest class, and whether the image is like what the classes were learnt from."""

    label: str
    label_index: int
    probabilities: dict[str, float | None]
    p_value: float | None
    score_name: str | None
    decision: Literal["accept", "uncertain"] | None = Field(
        description="uncertain: the image is strange, whatever the probabilities say"
    )


class GroupVerdict(BaseModel):
    """Whether the images of a request are strange together, each being alone perhaps not."""

    statistic: Number = Field(description="higher = stranger")
    p_value: float
    is_ood: bool | None = Field(description="p_value <= alpha; null if alpha is out of reach")
    num_groups: int = Field(description="of calibration images, that it was compared with")
    guarantee: str
    note: str | None = Field(description="why there is no verdict, if there is none")


class BatchVerdict(BaseModel):
    """Which of several images are strange, judged together (Benjamini and Hochberg 1995)."""

    method: Literal["benjamini-hochberg"]
    alpha: float
    adjusted_p_values: list[float]
    rejected: list[bool]
    num_rejected: int
    guarantee: str
    note: str | None = Field(description="where none could be rejected by itself")
    group: GroupVerdict = Field(
        description="whether they are strange together; promised for images that are independent"
    )


class OodScoreAnswer(Envelope):
    """Per image: calibrated strangeness."""

    results: list[OodScoreItem]
    calibration: Calibrated
    batch: BatchVerdict | None = Field(description="for several images")


class ClassifyAnswer(Envelope):
    """Per image: class and decision."""

    results: list[ClassifyItem]
    screen: str | None = Field(
        description="name@version of the screen that decided; null if the model's own score did"
    )
    calibration: Calibrated | None
    note: str | None = Field(
        description="why there is no decision, or why the model's screen did not make it"
    )
