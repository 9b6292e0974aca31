"""What answers about drift hold, as the API's documentation shows it."""

from typing import Literal

from pydantic import BaseModel, Field


class LowShare(BaseModel):
    """How many of the window's p-values are low."""

    p_value: float
    share: float | None = Field(description="with at most this p-value; null before the first")
    expected: float = Field(description="of images like the calibration set")


class TwoSample(BaseModel):
    """Kolmogorov and Smirnov's test of the window's scores against the calibration scores."""

    statistic: float = Field(description="largest distance of the distribution functions, 0 to 1")
    p_value: float = Field(description="asymptotic, and of a single look: many looks find low ones")


class Window(BaseModel):
    """The last images, by the p-values that their answers gave for all classes together."""

    size: int
    num_images: int
    histogram: list[int] = Field(description="p-values in (0, 0.1], (0.1, 0.2], ..., (0.9, 1]")
    expected: list[float] = Field(description="the same of images like the calibration set")
    at_most: list[LowShare]
    kolmogorov_smirnov: TwoSample | None


class DriftTest(BaseModel):
    """A bet against the stream being like the calibration set, which must not win much."""

    name: Literal["conformal test martingale"] = "conformal test martingale"
    log10_value: float | None = Field(description="of the capital, which was 1 at the start")
    log10_max: float | None = Field(description="the largest so far")
    log10_threshold: float = Field(description="of 1 / alpha, at which it alarms")
    alpha: float
    alarmed: bool = Field(description="stays true until a reset")
    alarmed_at: int | None = Field(description="number of the image that raised the alarm, from 1")
    guarantee: str


class DriftAnswer(BaseModel):
    """What one score has seen since the start or the last reset."""

    model: str = Field(description="name@version")
    score_name: str
    source: str = Field(description="of the calibration set")
    num_calibration: int
    num_seen: int = Field(description="images in answers of /ood_score and /classify")
    window: Window
    test: DriftTest
