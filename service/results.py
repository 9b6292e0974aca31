"""From result columns to the results of an answer: numbers, p-values and decisions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.core.conformal import Calibration, benjamini_hochberg
from models.core.likelihood import Likelihood, bits_per_dim
from models.core.ood import SCORES, Score
from models.core.operation import Rows
from service.errors import InvalidRequest, NotCalibrated
from service.store import Served

Result = dict[str, Any]


def numbers(column: Tensor) -> list[float | None]:
    """As many digits as float32 holds; None where a number is not finite. Shape: (B,)."""
    return [_number(value) for value in column.tolist()]


def nested(column: Tensor) -> list[Any]:
    """The same for rows of any shape. Shapes: (B, ...) -> B nested lists."""
    flat = np.empty(column.numel(), dtype=object)
    flat[:] = numbers(column.flatten())
    found: list[Any] = flat.reshape(column.shape).tolist()
    return found


@dataclass(frozen=True)
class About:
    """What the numbers of an operation are, at the params of the request."""

    kind: Likelihood | None
    num_samples: int | None
    """Draws of which each number is made, if it is made of draws."""

    def beside(self, rows: Rows, num: int) -> list[Result]:
        """What every number is accompanied by."""
        errors: list[float | None] = [None] * num
        if "standard_error" in rows:
            errors = numbers(rows["standard_error"])
        return [{"standard_error": error, "num_samples": self.num_samples} for error in errors]


def log_likelihoods(served: Served, rows: Rows, about: About) -> list[Result]:
    """One result per row of a log_likelihood operation."""
    log_prob = rows["log_prob"]
    num = len(log_prob)
    bits: list[float | None] = [None] * num
    discrete = served.takes_images or served.model.grid is not None
    if about.kind is not Likelihood.UNNORMALISED and discrete:
        bits = numbers(bits_per_dim(log_prob, served.model.num_dims))
    return [
        {"log_likelihood": value, "bits_per_dim": bit, "kind": about.kind, **beside}
        for value, bit, beside in zip(numbers(log_prob), bits, about.beside(rows, num), strict=True)
    ]


def energies(served: Served, rows: Rows, about: About) -> list[Result]:
    """One result per row of an energy operation; without a kind its constant is unknown."""
    num = len(rows["energy"])
    per_class: list[Any] = [None] * num
    if "energies" in rows:
        per_class = [_by_class(served, row) for row in rows["energies"].tolist()]
    kind = about.kind or Likelihood.UNNORMALISED
    return [
        {"energy": value, "kind": kind, "energies": classes, **beside}
        for value, classes, beside in zip(
            numbers(rows["energy"]), per_class, about.beside(rows, num), strict=True
        )
    ]


@dataclass(frozen=True)
class Judge:
    """One calibrated score of one model at one false-alarm rate."""

    name: str
    score: Score
    calibration: Calibration
    source: str
    noun: str
    """What the calibration set is made of."""
    alpha: float
    threshold: float

    @classmethod
    def of(cls, served: Served, name: str | None, alpha: float) -> "Judge":
        """Raises NotCalibrated, or InvalidRequest if the score is unknown or alpha out of reach."""
        known = served.bundle.calibrations
        if not known:
            raise NotCalibrated(f"model {served.bundle.name} comes without calibration scores")
        name = name or next(iter(known))
        if name not in known:
            raise InvalidRequest(f"score {name!r}: accepted are {', '.join(known)}")
        try:
            threshold = known[name].threshold(alpha)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        source = served.bundle.calibration_source
        noun = "images" if served.takes_images else "rows"
        return cls(name, SCORES[name], known[name], source, noun, alpha, threshold)

    def scores(self, rows: Rows) -> Tensor:
        """Higher = stranger. -> (B,)."""
        return self.score.compute(rows, self.calibration.reference)

    def summary(self) -> Result:
        """What the p-values are measured against, and what that promises."""
        num = len(self.calibration.scores)
        return {
            "score_name": self.name,
            "num_images": num,
            "source": self.source,
            "guarantee": f"of {self.noun} like those {num}, at most a share of {self.alpha:g} gets "
            f"p_value <= {self.alpha:g}, on average over the draw of the calibration set",
        }


def ood_scores(judge: Judge, rows: Rows) -> list[Result]:
    """One result per row."""
    scores = judge.scores(rows)
    p_values: list[float] = judge.calibration.p_value(scores).tolist()
    threshold = _rounded(judge.threshold)
    return [
        {
            "score": score,
            "p_value": p_value,
            "is_ood": p_value <= judge.alpha,
            "threshold": threshold,
            "score_name": judge.name,
            "alpha": judge.alpha,
        }
        for score, p_value in zip(numbers(scores), p_values, strict=True)
    ]


def batch_verdict(judge: Judge, results: list[Result]) -> Result | None:
    """Benjamini and Hochberg over the images of one request; None for a single one."""
    if len(results) < 2:
        return None
    p_values = torch.tensor([r["p_value"] for r in results], dtype=torch.float64)
    adjusted: list[float] = benjamini_hochberg(p_values).tolist()
    rejected = [p <= judge.alpha for p in adjusted]
    return {
        "method": "benjamini-hochberg",
        "alpha": judge.alpha,
        "adjusted_p_values": adjusted,
        "rejected": rejected,
        "num_rejected": sum(rejected),
        "guarantee": f"among the rejected {judge.noun}, the expected share of {judge.noun} like "
        f"the calibration set is at most {judge.alpha:g}",
    }


def classes(
    served: Served, rows: Rows, judge: Judge | None, score_rows: Rows | None
) -> list[Result]:
    """One result per row of a classify operation; without a judge there is no decision."""
    best = rows["probabilities"].argmax(1).tolist()
    p_values: list[float | None] = [None] * len(best)
    if judge is not None and score_rows is not None:
        p_values = judge.calibration.p_value(judge.scores(score_rows)).tolist()
    return [
        {
            "label": served.class_names[index],
            "label_index": index,
            "probabilities": _by_class(served, probabilities),
            "p_value": p_value,
            "score_name": judge.name if judge else None,
            "decision": _decision(p_value, judge),
        }
        for index, probabilities, p_value in zip(
            best, rows["probabilities"].tolist(), p_values, strict=True
        )
    ]


def _number(value: float) -> float | None:
    return _rounded(value) if math.isfinite(value) else None


def _rounded(value: float) -> float:
    return float(f"{value:.7g}")


def _decision(p_value: float | None, judge: Judge | None) -> str | None:
    if judge is None or p_value is None:
        return None
    return "uncertain" if p_value <= judge.alpha else "accept"


def _by_class(served: Served, row: list[float]) -> Mapping[str, float | None]:
    return {name: _number(value) for name, value in zip(served.class_names, row, strict=True)}
