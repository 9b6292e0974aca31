"""What a score means: conformal calibration, from a number to a p-value and its promises.

One orientation for ever: a higher score is stranger, a lower p-value is stranger.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import torch
from torch import Tensor

Reference = float | Tensor
"""What a score compares with, fitted to data that are not in the calibration: a median, or (R,)."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of held-out in-distribution data; a new score is judged by its rank among them."""

    scores: Tensor
    """(N,) float32, ascending."""
    reference: Reference = 0.0
    """Typical values of the underlying quantities, from data that are not in `scores`."""
    z: Tensor | None = None
    """(N, J) float32: z-values of the components of a screen, row i beside scores[i]."""
    category: Tensor | None = None
    """(N,) int64: predicted classes, beside scores; -1 where none was predicted."""

    @classmethod
    def fit(
        cls,
        scores: Tensor,
        reference: Reference = 0.0,
        z: Tensor | None = None,
        category: Tensor | None = None,
    ) -> "Calibration":
        """A calibration from scores in any order. Shapes: scores (N,), z (N, J), category (N,).

        Raises ValueError if any score is not finite.
        """
        if not bool(scores.isfinite().all()):
            raise ValueError("calibration scores must be finite")
        ascending = scores.float().sort(stable=True)
        order = ascending.indices
        return cls(
            ascending.values,
            reference,
            None if z is None else z[order].float(),
            None if category is None else category[order],
        )

    def p_value(self, score: Tensor) -> Tensor:
        """Conformal p-value: small means strange, and never 0. Shapes: (B,) -> (B,) float64.

        For data like the calibration set, P(p_value <= a) <= a for every a, averaged over the
        draw of that set (Vovk et al. 2005; Bates et al. 2023, arXiv:2104.08279). Ties and NaN
        count as strange.
        """
        num = len(self.scores)
        below = torch.searchsorted(self.scores, score.float().nan_to_num(nan=math.inf))
        return (num - below + 1).double() / (num + 1)

    @property
    def num(self) -> int:
        """N, the size of the calibration set."""
        return len(self.scores)

    def rank(self, alpha: float) -> int:
        """The largest k with k / (N + 1) <= alpha: p-values up to that one are alarms.

        Raises ValueError if alpha lies outside (0, 1) or is below the smallest p-value that this
        many calibration points can give, 1 / (N + 1).
        """
        if not 1 / (self.num + 1) <= alpha < 1:
            raise ValueError(
                f"alpha {alpha} is out of reach: {self.num} calibration images allow "
                f"{smallest_alpha(self.num)} <= alpha < 1"
            )
        k = math.floor(alpha * (self.num + 1))
        # The product is rounded; p-values are quotients, so these decide.
        if (k + 1) / (self.num + 1) <= alpha:
            k += 1
        elif k / (self.num + 1) > alpha:
            k -= 1
        return k

    def cut(self, rank: int) -> float:
        """The score above which p_value <= rank / (N + 1), for ranks from 1 to N."""
        # p_value <= rank / (N + 1) means that at most rank - 1 scores are >= the new one.
        return float(self.scores[self.num - rank])

    def threshold(self, alpha: float) -> float:
        """The score above which p_value <= alpha, in the score's unit. Raises as `rank` does."""
        return self.cut(self.rank(alpha))


def smallest_alpha(num: int) -> str:
    """The smallest alpha that so many points allow, in two digits: rounded up, so that it works."""
    exact = 1 / (num + 1)
    nearest = float(f"{exact:.2g}")
    above = float(Context(prec=2, rounding=ROUND_CEILING).create_decimal_from_float(exact))
    return f"{nearest if nearest >= exact else above:g}"


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
