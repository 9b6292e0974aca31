"""How strange events are, and what follows: p-values, decisions and promises of an answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from models.core.calibration.conformal import benjamini_hochberg
from models.core.calibration.group import group_test
from models.core.calibration.mondrian import by_category
from models.core.calibration.rule import Rule, Verdicts
from models.core.contract.rows import Rows
from models.core.ood.register import SCORES
from models.core.ood.score import Score
from models.core.screen.model import Screen
from service.catalog.catalog import Served
from service.errors import InvalidRequest, NotCalibrated
from service.results.results import Result, number, numbers, rounded
from service.schema.requests import ScreenRequest


def calibrated_score(served: Served, name: str | None) -> str:
    """The score of this name, or the model's first. Raises NotCalibrated or InvalidRequest."""
    known = served.bundle.calibrations
    if not known:
        raise NotCalibrated(f"model {served.bundle.name} comes without calibration scores")
    name = name or next(iter(known))
    if name not in known:
        raise InvalidRequest(f"score {name!r}: accepted are {', '.join(known)}")
    return name


@dataclass(frozen=True)
class Judge:
    """One calibrated score of one model, and the rule by which it decides."""

    served: Served
    name: str
    score: Score
    rule: Rule

    @classmethod
    def of(cls, served: Served, fields: ScreenRequest, name: str | None = None) -> "Judge":
        """By the score of this name, or the model's first.

        Raises NotCalibrated, or InvalidRequest if the score is unknown or the promise is beyond
        its calibration.
        """
        name = calibrated_score(served, name)
        try:
            rule = Rule.of(
                served.bundle.calibrations[name], fields.alpha, fields.guarantee, fields.delta
            )
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return cls(served, name, SCORES[name], rule)

    @property
    def noun(self) -> str:
        """What the calibration set is made of."""
        return "images" if self.served.takes_images else "rows"

    def judged(self, rows: Rows) -> "Judged":
        """By the columns of the score's operation. Raises InvalidRequest for too small a class."""
        scores = self.score.compute(rows, self.rule.calibration.reference)
        try:
            names = self.served.class_names
            verdicts = self.rule.judge(scores, rows.get("category"), names)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        return Judged(self, rows, scores, verdicts)

    def summary(self) -> Result:
        """What the p-values are measured against, and what that promises."""
        rule, source = self.rule, self.served.bundle.calibration_source
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
class Judged:
    """What a judge found of the rows of one request."""

    judge: Judge
    rows: Rows
    scores: torch.Tensor
    """(B,), higher = stranger."""
    verdicts: Verdicts

    def results(self) -> list[Result]:
        """One per row."""
        judge, num = self.judge, len(self.scores)
        errors = numbers(self.rows["standard_error"]) if "standard_error" in self.rows else None
        columns = zip(
            numbers(self.scores),
            self.verdicts.p_value.tolist(),
            self.verdicts.is_ood.tolist(),
            self.verdicts.threshold.tolist(),
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
                "score_name": judge.name,
                "alpha": judge.rule.alpha,
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
                "score_name": self.judge.name,
                "decision": "uncertain" if is_ood else "accept",
            }
            for p_value, is_ood in zip(
                self.verdicts.p_value.tolist(), self.verdicts.is_ood.tolist(), strict=True
            )
        ]

    def batch(self) -> Result | None:
        """The rows of the request judged together; None for a single one."""
        num, judge = len(self.scores), self.judge
        if num < 2:
            return None
        alpha = judge.rule.alpha
        adjusted: list[float] = benjamini_hochberg(self.verdicts.p_value).tolist()
        rejected = [p <= alpha for p in adjusted]
        smallest = 1 / (_largest(judge.rule) + 1)
        note = None
        if alpha / num < smallest:
            note = (
                f"no p-value is below {smallest:.2g}, and of {num} {judge.noun} one alone is "
                f"rejected only at {alpha / num:.2g}"
            )
        return {
            "method": "benjamini-hochberg",
            "alpha": alpha,
            "adjusted_p_values": adjusted,
            "rejected": rejected,
            "num_rejected": sum(rejected),
            "guarantee": f"among the rejected {judge.noun}, the expected share of {judge.noun} "
            f"like the calibration set is at most {alpha:g}",
            "note": note,
            "group": self._group(),
        }

    def _group(self) -> Result:
        """Whether all rows together are strange."""
        num, noun, alpha = len(self.scores), self.judge.noun, self.judge.rule.alpha
        calibration = self.judge.rule.calibration
        found = group_test(calibration, self.scores, self.rows.get("z"))
        smallest = 1 / (found.num_groups + 1)
        note = None
        if alpha < smallest:
            note = (
                f"{calibration.num} calibration {noun} make {found.num_groups} groups of {num}: "
                f"they allow {smallest:.2g} <= alpha < 1"
            )
        return {
            "statistic": number(found.statistic),
            "p_value": found.p_value,
            "is_ood": None if note else found.p_value <= alpha,
            "num_groups": found.num_groups,
            "guarantee": f"of groups of {num} {noun} like the calibration set, at most a share of "
            f"{alpha:g} is flagged, on average over draws of that set",
            "note": note,
        }

    def _categories(self) -> Iterable[str | None]:
        names = self.judge.served.class_names
        if "category" not in self.rows:
            return [None] * len(self.scores)
        return [names[i] if i >= 0 else None for i in self.rows["category"].tolist()]

    def _components(self) -> Iterable[dict[str, Any] | None]:
        model = self.judge.served.model
        if not isinstance(model, Screen):
            return [None] * len(self.scores)
        pairs = zip(self.rows["scores"].tolist(), self.rows["z"].tolist(), strict=True)
        return [
            {
                name: {"score": number(score), "z": number(z)}
                for name, score, z in zip(model.score_names, scores, zs, strict=True)
            }
            for scores, zs in pairs
        ]


def undecided(num: int) -> list[Result]:
    """Decisions where there is no judge."""
    return [{"p_value": None, "score_name": None, "decision": None} for _ in range(num)]


def _largest(rule: Rule) -> int:
    """The size of the largest set that an image may be compared with."""
    if rule.guarantee == "class_conditional":
        return max(part.num for part in by_category(rule.calibration).values())
    return rule.calibration.num
