"""Out-of-distribution scores and their calibration: from a number to a p-value.

One orientation for ever: a higher score is stranger, a lower p-value is stranger.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.operation import Rows


@dataclass(frozen=True)
class Calibration:
    """Scores of held-out in-distribution data; a new score is judged by its rank among them."""

    scores: Tensor
    """(N,) float32, ascending."""
    reference: float = 0.0
    """A typical value of the underlying quantity, from data that is not in `scores`."""

    @classmethod
    def fit(cls, scores: Tensor, reference: float = 0.0) -> "Calibration":
        """Shape: scores (N,), higher = stranger. Raises ValueError if any is not finite."""
        if not bool(scores.isfinite().all()):
            raise ValueError("calibration scores must be finite")
        return cls(scores.float().sort().values, reference)

    def p_value(self, score: Tensor) -> Tensor:
        """Conformal p-value: small means strange, and never 0. Shapes: (B,) -> (B,) float64.

        For data like the calibration set, P(p_value <= a) <= a for every a, averaged over the
        draw of that set (Vovk et al. 2005; Bates et al. 2023, arXiv:2104.08279). Ties and NaN
        count as strange.
        """
        num = len(self.scores)
        below = torch.searchsorted(self.scores, score.float().nan_to_num(nan=math.inf))
        return (num - below + 1).double() / (num + 1)

    def threshold(self, alpha: float) -> float:
        """The score above which p_value <= alpha, in the score's unit.

        Raises ValueError if alpha lies outside (0, 1) or is below the smallest p-value that this
        many calibration points can give, 1 / (N + 1).
        """
        num = len(self.scores)
        smallest = 1 / (num + 1)
        if not smallest <= alpha < 1:
            raise ValueError(
                f"alpha {alpha} is out of reach: {num} calibration images allow "
                f"{smallest:.2g} <= alpha < 1"
            )
        # p <= alpha means that at most k - 1 calibration scores are >= the score.
        k = math.floor(alpha * (num + 1))
        # The product is rounded; p-values are quotients, so these decide.
        if (k + 1) / (num + 1) <= alpha:
            k += 1
        elif k / (num + 1) > alpha:
            k -= 1
        return float(self.scores[num - k])


@dataclass(frozen=True)
class Score:
    """A way to say how strange an event is: columns of an operation's result -> one number."""

    operation: str
    columns: tuple[str, ...]
    unit: str
    description: str
    compute: Callable[[Rows, float], Tensor]
    """Columns and the calibration's reference -> (B,), higher = stranger."""


SCORES: dict[str, Score] = {
    "energy": Score(
        "energy",
        ("energy",),
        "nats, up to the model's constant",
        "Minus the unnormalised log density (Liu et al. 2020, arXiv:2010.03759).",
        lambda rows, _: rows["energy"],
    ),
    "energy_typicality": Score(
        "energy",
        ("energy",),
        "nats",
        "Distance of the energy from its median on validation data, so that images that are too "
        "likely count as strange as well (after Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["energy"] - reference).abs(),
    ),
    "nll": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Minus the log likelihood (or its bound). Flows and autoregressive models can find other "
        "data likelier than their own (Nalisnick et al. 2019, arXiv:1810.09136).",
        lambda rows, _: -rows["log_prob"],
    ),
    "typicality": Score(
        "log_likelihood",
        ("log_prob",),
        "nats",
        "Distance of the log likelihood from its median on validation data, so that events that "
        "are too likely count as strange as well (Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["log_prob"] - reference).abs(),
    ),
}


def benjamini_hochberg(p_values: Tensor) -> Tensor:
    """Adjusted p-values: rejecting those <= q keeps the false discovery rate at most q.

    Benjamini and Hochberg 1995; valid for conformal p-values that share a calibration set (Bates
    et al. 2023, theorem 2). Shapes: (M,) -> (M,) in the order given.
    """
    num = len(p_values)
    order = p_values.argsort(descending=True)
    rank = torch.arange(num, 0, -1, device=p_values.device)
    adjusted = (p_values[order] * num / rank).cummin(0).values.clamp(max=1)
    return torch.empty_like(adjusted).index_copy_(0, order, adjusted)
