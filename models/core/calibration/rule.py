"""From scores to decisions: p-values, thresholds, alarms, and in words what is promised of them."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration, smallest_alpha
from models.core.calibration.mondrian import by_category, p_value_by_category
from models.core.calibration.pac import pac_rank, rate_bound

Guarantee = Literal["marginal", "pac", "class_conditional"]
"""marginal: the rate of false alarms is at most alpha on average over draws of the calibration set;
pac: for this set itself, unless it is one of an unlucky share delta; class_conditional: as
marginal, within each predicted class."""


@dataclass(frozen=True)
class Verdicts:
    """What a rule says of B images; class by class, thresholds differ."""

    p_value: Tensor
    """(B,) float64."""
    is_ood: Tensor
    """(B,) bool."""
    threshold: Tensor
    """(B,): scores above it are alarms."""


class ClassTooSmall(ValueError):
    """Too few calibration images of a class for this alpha; `row` is the first such image."""

    def __init__(self, detail: str, row: int) -> None:
        super().__init__(detail)
        self.row = row


@dataclass(frozen=True)
class Rule:
    """How one calibration decides at one rate of false alarms."""

    calibration: Calibration
    alpha: float
    guarantee: Guarantee
    delta: float
    rank: int
    """Alarms have p_value <= rank / (N + 1), with N calibration images."""

    @classmethod
    def of(
        cls,
        calibration: Calibration,
        alpha: float,
        guarantee: Guarantee = "marginal",
        delta: float = 0.05,
    ) -> "Rule":
        """Raises ValueError, with what is accepted, if the calibration cannot promise that."""
        rank = calibration.rank(alpha)
        if guarantee == "pac":
            rank = pac_rank(calibration.num, alpha, delta)
        if guarantee == "class_conditional":
            by_category(calibration)
        return cls(calibration, alpha, guarantee, delta, rank)

    @property
    def k_star(self) -> int | None:
        """The rank of the PAC rule, None of others."""
        return self.rank if self.guarantee == "pac" else None

    @property
    def effective_alpha(self) -> float | None:
        """Alarms have at most this p-value; None if that depends on the class."""
        if self.guarantee == "class_conditional":
            return None
        return self.rank / (self.calibration.num + 1)

    @property
    def rate_bound(self) -> float | None:
        """What the rate of this very calibration set is below, with confidence 1 - delta."""
        if self.guarantee == "class_conditional":
            return None
        return rate_bound(self.calibration.num, self.rank, self.delta)

    def judge(
        self, scores: Tensor, category: Tensor | None = None, names: tuple[str, ...] = ()
    ) -> Verdicts:
        """Shapes: scores (B,), category (B,) int64, predicted classes, which `names` name.

        Raises ClassTooSmall if an image's class has too few calibration images for alpha.
        """
        if self.guarantee == "class_conditional":
            if category is None:
                raise ValueError("there are no predicted classes")
            return self._judge_by_class(scores, category, names)
        num = self.calibration.num
        p_value = self.calibration.p_value(scores)
        cut = self.calibration.cut(self.rank)
        # Quotients of the same whole numbers, so that the comparison is exact.
        return Verdicts(p_value, p_value <= self.rank / (num + 1), torch.full(scores.shape, cut))

    def _judge_by_class(self, scores: Tensor, category: Tensor, names: tuple[str, ...]) -> Verdicts:
        calibrations = by_category(self.calibration)
        cuts = []
        for row, index in enumerate(category.tolist()):
            num = calibrations[index].num if index in calibrations else 0
            if self.alpha < 1 / (num + 1):
                name = names[index] if 0 <= index < len(names) else str(index)
                raise ClassTooSmall(
                    f"image {row} looks like class {name}, of which there are {num} calibration "
                    f"images: they allow {smallest_alpha(num)} <= alpha < 1",
                    row,
                )
            cuts.append(calibrations[index].threshold(self.alpha))
        p_value = p_value_by_category(self.calibration, scores, category)
        return Verdicts(p_value, p_value <= self.alpha, torch.tensor(cuts))

    def sentence(self, source: str, noun: str = "images") -> str:
        """The promise with its numbers, and what it is not."""
        num, alpha = self.calibration.num, self.alpha
        like = f"of {noun} like the {num} of the calibration set ({source})"
        if self.guarantee == "class_conditional":
            promise = (
                f"{like}, within each predicted class, at most a share of {alpha:g} is flagged, on "
                "average over draws of that set"
            )
        elif self.guarantee == "pac":
            promise = (
                f"{like}, at most a share of {alpha:g} is flagged, with {1 - self.delta:.12g} "
                f"confidence in this very set: those with p_value <= {self.rank}/{num + 1}"
            )
        else:
            promise = (
                f"{like}, at most a share of {alpha:g} is flagged on average over draws of that "
                f"set; for this very set the share is below {self.rate_bound:.4g} with "
                f"{1 - self.delta:.12g} confidence"
            )
        return (
            f"{promise}; this holds while {noun} come independently from that source, and does "
            "not bound the share of others that is missed"
        )
