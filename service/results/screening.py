"""How strange events are, and what follows: p-values, decisions and promises of an answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from models.core.calibration.conformal import benjamini_hochberg, smallest_alpha
from models.core.calibration.group import group_test
from models.core.calibration.mondrian import by_category
from models.core.calibration.rule import Rule, Verdicts
from models.core.contract.rows import Rows
from models.core.ood.register import SCORES
from models.core.ood.score import Score
from service.catalog.description import ModelDescription
from service.errors import InvalidRequest, NotCalibrated
from service.results.drift_monitor import DriftMonitor
from service.results.results import Result, number, numbers, rounded
from service.schema.requests import ScreenRequest


def calibrated_score(model: ModelDescription, name: str | None) -> str:
    """The score of this name, or the model's first. Raises NotCalibrated or InvalidRequest."""
    known = model.calibrations
    if not known:
        raise NotCalibrated(f"model {model.name} comes without calibration scores")
    name = name or next(iter(known))
    if name not in known:
        raise InvalidRequest(f"score {name!r}: accepted are {', '.join(known)}")
    return name


@dataclass(frozen=True)
class Screener:
    """One calibrated score of one model, the rule by which it decides, and who watches for drift.

    All that says how strange something is goes through here, so that drift sees all of it.
    """

    model: ModelDescription
    name: str
    score: Score
    rule: Rule
    drift: DriftMonitor

    @classmethod
    def of(
        cls,
        model: ModelDescription,
        fields: ScreenRequest,
        drift: DriftMonitor,
        name: str | None = None,
    ) -> "Screener":
        """By the score of this name, or the model's first.

        Raises NotCalibrated, or InvalidRequest if the score is unknown or the promise is beyond
        its calibration.
        """
        name = calibrated_score(model, name)
        try:
            rule = Rule.of(model.calibrations[name], fields.alpha, fields.guarantee, fields.delta)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return cls(model, name, SCORES[name], rule, drift)

    @property
    def noun(self) -> str:
        """What the calibration set is made of."""
        return "images" if self.model.takes_images else "rows"

    def screen(self, rows: Rows) -> "Screened":
        """Decide by the columns of the score's operation, once for the rows of each request.

        Raises InvalidRequest for too small a class.
        """
        scores = self.score.compute(rows, self.rule.calibration.reference)
        try:
            decided = self.rule.judge(scores, rows.get("category"), self.model.class_names)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        self.drift.see(self.model, self.name, scores)
        return Screened(self, rows, scores, decided)

    def summary(self) -> Result:
        """What the p-values are measured against, and what that promises."""
        rule, source = self.rule, self.model.calibration_source
        return {
            "score_name": self.name,
            "num_images": rule.calibration.num,
            "source": source,
            "mode": rule.guarantee,
            "delta": rule.delta,
            "k_star": rule.k_star,
            "effective_alpha": rule.effective_alpha,
            "rate_bound": rule.rate_bound,
            "guarantee": rule.sentence(source, self.noun),
        }


@dataclass(frozen=True)
class Screened:
    """What a screener says of the rows of one request."""

    screener: Screener
    rows: Rows
    scores: torch.Tensor
    """(B,), higher = stranger."""
    decided: Verdicts

    def results(self) -> list[Result]:
        """One per row."""
        screener, num = self.screener, len(self.scores)
        errors = numbers(self.rows["standard_error"]) if "standard_error" in self.rows else None
        columns = zip(
            numbers(self.scores),
            self.decided.p_value.tolist(),
            self.decided.is_ood.tolist(),
            self.decided.threshold.tolist(),
            errors or [None] * num,
            self._categories(),
            self._components(),
            strict=True,
        )
        return [
            {
                "score": score,
                "p_value": p_value,
                "is_ood": is_ood,
                "threshold": rounded(threshold),
                "score_name": screener.name,
                "alpha": screener.rule.alpha,
                "standard_error": error,
                "category": category,
                "components": components,
            }
            for score, p_value, is_ood, threshold, error, category, components in columns
        ]

    def decisions(self) -> list[Result]:
        """What a classification says of it, one per row."""
        return [
            {
                "p_value": p_value,
                "score_name": self.screener.name,
                "decision": "uncertain" if is_ood else "accept",
            }
            for p_value, is_ood in zip(
                self.decided.p_value.tolist(), self.decided.is_ood.tolist(), strict=True
            )
        ]

    def batch(self) -> Result | None:
        """The rows of the request judged together; None for a single one."""
        num, screener, noun = len(self.scores), self.screener, self.screener.noun
        if num < 2:
            return None
        alpha = screener.rule.alpha
        adjusted: list[float] = benjamini_hochberg(self.decided.p_value).tolist()
        rejected = [p <= alpha for p in adjusted]
        smallest = 1 / (_largest(screener.rule) + 1)
        note = None
        if alpha / num < smallest:
            note = (
                f"no p-value is below {smallest:.2g}, and of {num} {noun} one alone is "
                f"rejected only at {alpha / num:.2g}"
            )
        return {
            "method": "benjamini-hochberg",
            "alpha": alpha,
            "adjusted_p_values": adjusted,
            "rejected": rejected,
            "num_rejected": sum(rejected),
            "guarantee": f"among the rejected {noun}, the expected share of {noun} like the "
            f"calibration set is at most {alpha:g}",
            "note": note,
            "group": self._group(),
        }

    def _group(self) -> Result:
        """Whether all rows together are strange."""
        num, noun, alpha = len(self.scores), self.screener.noun, self.screener.rule.alpha
        calibration = self.screener.rule.calibration
        group = group_test(calibration, self.scores, self.rows.get("z"))
        note = None
        if alpha < 1 / (group.num_groups + 1):
            note = (
                f"{calibration.num} calibration {noun} make {group.num_groups} groups of {num}: "
                f"they allow {smallest_alpha(group.num_groups)} <= alpha < 1"
            )
        return {
            "statistic": number(group.statistic),
            "p_value": group.p_value,
            "is_ood": None if note else group.p_value <= alpha,
            "num_groups": group.num_groups,
            "guarantee": f"of groups of {num} {noun} like the calibration set, at most a share of "
            f"{alpha:g} is flagged, on average over draws of that set",
            "note": note,
        }

    def _categories(self) -> Iterable[str | None]:
        names = self.screener.model.class_names
        if "category" not in self.rows:
            return [None] * len(self.scores)
        return [names[i] if i >= 0 else None for i in self.rows["category"].tolist()]

    def _components(self) -> Iterable[dict[str, Any] | None]:
        names = self.screener.model.components
        if not names:
            return [None] * len(self.scores)
        pairs = zip(self.rows["scores"].tolist(), self.rows["z"].tolist(), strict=True)
        return [
            {
                name: {"score": number(score), "z": number(z)}
                for name, score, z in zip(names, scores, zs, strict=True)
            }
            for scores, zs in pairs
        ]


def undecided(num: int) -> list[Result]:
    """Decisions where nobody screens."""
    return [{"p_value": None, "score_name": None, "decision": None} for _ in range(num)]


def _largest(rule: Rule) -> int:
    """The size of the largest set that an image may be compared with."""
    if rule.guarantee == "class_conditional":
        return max(part.num for part in by_category(rule.calibration).values())
    return rule.calibration.num
