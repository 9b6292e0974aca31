"""What screening is worth to a classifier: who was sure and wrong, before and after.

Risk and coverage: El-Yaniv and Wiener 2010, "On the foundations of noise-free selective
classification"; images of another set have no right label, so that every answer about them is
wrong (SCOD, Xia and Bouganis 2022, arXiv:2207.07506).
"""

from dataclasses import dataclass

import numpy as np

CERTAIN = 0.9
"""Softmax probability from which an answer would be acted on without a screen."""


@dataclass(frozen=True)
class Answers:
    """A classifier's answers about images, and what the screen thinks of these."""

    confidence: np.ndarray
    """(N,) probability of the class that was said."""
    right: np.ndarray
    """(N,) bool; False for images of other sets."""
    p_value: np.ndarray
    """(N,) of the screen."""

    def __add__(self, other: "Answers") -> "Answers":
        return Answers(
            np.concatenate([self.confidence, other.confidence]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.p_value, other.p_value]),
        )


@dataclass(frozen=True)
class Decisions:
    """Shares of a mixture of own and other images, without the screen and with it."""

    num: int
    wrong_and_certain_before: float
    """Share of all images whose softmax is at least CERTAIN and whose answer is wrong."""
    wrong_and_certain_after: float
    """Share of those that the screen accepts, too."""
    right_and_certain_before: float
    right_and_certain_after: float
    aurc_softmax: float
    """Area under the risk-coverage curve, images accepted by falling softmax; less is better."""
    aurc_screened: float
    """Area under that curve with images that the screen finds strange at the very end."""


def decide(answers: Answers, alpha: float) -> Decisions:
    """Shares and areas of a mixture at a rate of false alarms. Raises ValueError if it is empty."""
    if len(answers.right) == 0:
        raise ValueError("no answers: accepted is at least one image")
    certain = answers.confidence >= CERTAIN
    accepted = certain & (answers.p_value > alpha)
    return Decisions(
        num=len(answers.right),
        wrong_and_certain_before=float((certain & ~answers.right).mean()),
        wrong_and_certain_after=float((accepted & ~answers.right).mean()),
        right_and_certain_before=float((certain & answers.right).mean()),
        right_and_certain_after=float((accepted & answers.right).mean()),
        aurc_softmax=float(risk_by_coverage(answers.confidence, answers.right).mean()),
        aurc_screened=float(risk_by_coverage(trust(answers, alpha), answers.right).mean()),
    )


def trust(answers: Answers, alpha: float) -> np.ndarray:
    """What answers are ordered by: confidence, those with p_value <= alpha behind all others."""
    confidence: np.ndarray = answers.confidence - (answers.p_value <= alpha)
    return confidence


def risk_by_coverage(trusted: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Share of wrong answers among the k most trusted, for k = 1 .. N; ties share their risk.

    Shapes: (N,), bool (N,) -> (N,).
    """
    values, place, count = np.unique(-trusted, return_inverse=True, return_counts=True)
    wrong = np.bincount(place, weights=~right, minlength=len(values))
    # Within a tie any order is as likely: the expected number of wrong answers rises evenly.
    expected = np.cumsum(np.repeat(wrong / count, count))
    risk: np.ndarray = expected / np.arange(1, len(right) + 1)
    return risk
