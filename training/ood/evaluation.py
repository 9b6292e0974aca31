"""The figures of a screen, each with the definition in its name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from training.ood.decisions import Decisions
from training.ood.metrics import clopper_pearson
from training.ood.probes import Part

ALPHAS = (0.05, 0.01)
"""Rates of false alarms at which everything is told, where the calibration set allows it."""


@dataclass(frozen=True)
class Rate:
    """How many of how many, with the exact 95 % interval of the rate."""

    count: int
    num: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, flags: np.ndarray) -> "Rate":
        """Shape: bool (N,)."""
        count, num = int(flags.sum()), len(flags)
        return cls(count, num, count / num, *clopper_pearson(count, num))


@dataclass(frozen=True)
class Caught:
    """How well the default score tells one set from the own test split."""

    auroc: float
    auroc_low: float
    auroc_high: float
    auroc_standard_error: float
    aupr_out_at_1_to_1: float
    aupr_in_at_1_to_1: float
    id_flagged_at_95pct_ood_caught: float
    ood_missed_at_5pct_id_flagged: float
    auroc_by_score: Mapping[str, float]
    auroc_by_trivial_score: Mapping[str, float]
    best_trivial_score: str
    gain: float
    """AUROC above that of the best trivial score."""
    gain_standard_error: float

    @property
    def is_gain(self) -> bool:
        """Whether it beats the best trivial score by more than 2 standard errors."""
        return self.gain > 2 * self.gain_standard_error and self.gain > 0


@dataclass(frozen=True)
class Row:
    """One set of the panel."""

    name: str
    part: Part
    about: str
    num_images: int
    flagged: Mapping[str, Rate]  # by alpha
    caught: Caught | None  # None where the images are benign: they need not be caught


@dataclass(frozen=True)
class Shown:
    """What pictures are made from, and JSON is not: scores, and the first images of a set."""

    scores: np.ndarray
    images: np.ndarray


@dataclass(frozen=True)
class SeedResult:
    """Figures of a screen whose parts were trained anew with another seed."""

    version: str
    num_images: int
    """Images of the own test split that were screened."""
    false_alarms: Mapping[str, float]  # by alpha
    auroc: Mapping[str, float]  # by set, as the others
    flagged: Mapping[str, float]  # at the first alpha
    id_flagged_at_95pct_ood_caught: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """All figures of one bundle."""

    bundle: str
    version: str
    dataset: str
    date: str
    command: str
    default_score: str
    unit: str
    calibration_source: str
    num_calibration: int
    thresholds: Mapping[str, float]  # by alpha
    rate_bounds: Mapping[str, float]  # by alpha: 95 % confidence
    false_alarms: Mapping[str, Rate]  # by alpha
    false_alarms_by_class: Mapping[str, Mapping[str, Rate]]  # by class, by alpha
    auroc_test_against_calibration: float
    auroc_test_against_calibration_standard_error: float
    latency_p50_ms_at_batch_1: float
    latency_p95_ms_at_batch_1: float
    processor_p50_ms_at_batch_1: float
    rows: tuple[Row, ...]
    decisions: Mapping[str, Decisions] = field(default_factory=dict)
    """By set, at the first alpha: as many own images as others. Empty without a classifier."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Sets that could not be had, and why."""
    num_dataset: int = 0
    """Images of the whole data set, where it is a folder: its test split is a part of them."""
    classes_unknown: bool = False
    """Whether the bundle says classes, and none of those of the data set."""
    other_seeds: tuple[SeedResult, ...] = ()
    """Figures of the screen when its parts are trained with these."""

    @property
    def alphas(self) -> tuple[float, ...]:
        """Rates that the calibration set is large enough for."""
        return tuple(alpha for alpha in ALPHAS if str(alpha) in self.thresholds)

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence for every rate of which nothing is told, since calibration is too small."""
        num = self.num_calibration
        return tuple(
            f"Nothing is told of alpha = {alpha}: {num:,} calibration images allow alpha from "
            f"{1 / (num + 1):.2g} on, for {alpha} it takes {round(1 / alpha) - 1:,}."
            for alpha in ALPHAS
            if str(alpha) not in self.thresholds
        )

    def of_part(self, *parts: Part) -> list[Row]:
        """Rows of some parts of the panel, in order."""
        return [row for row in self.rows if row.part in parts]

    @property
    def worst(self) -> Row | None:
        """The set that is told worst from the own one."""
        measured = [row for row in self.rows if row.caught]
        return min(measured, key=lambda row: row.caught.auroc if row.caught else 1, default=None)
