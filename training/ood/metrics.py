"""Figures of a detector, each named by its definition: ranks, rates and their intervals.

Scores are higher = stranger; own ones are in-distribution, strange ones are not; NaN counts as
strangest, as in a p-value.
"""

import math

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

_CHUNK = 100
"""Bootstrap replicates that are held in memory at once."""


def auroc(own: np.ndarray, strange: np.ndarray) -> float:
    """Chance that a strange image scores above an own one; ties count half. (N,), (M,)."""
    truth = np.concatenate([np.zeros(len(own)), np.ones(len(strange))])
    return float(roc_auc_score(truth, _ranks(own, strange)))


def auroc_interval(
    own: np.ndarray, strange: np.ndarray, seed: int = 0, num: int = 1000
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `auroc`: own and strange images are drawn anew."""
    _, place = np.unique(_ranks(own, strange), return_inverse=True)
    random, size = np.random.RandomState(seed), int(place.max()) + 1
    aurocs = []
    for start in range(0, num, _CHUNK):
        many = min(_CHUNK, num - start)
        own_at = _counts(place[: len(own)], many, size, random)
        strange_at = _counts(place[len(own) :], many, size, random)
        below = own_at.cumsum(1) - own_at / 2
        aurocs.append((strange_at * below).sum(1) / (len(own) * len(strange)))
    low, high = np.quantile(np.concatenate(aurocs), (0.025, 0.975))
    return float(low), float(high)


def _counts(place: np.ndarray, many: int, size: int, random: np.random.RandomState) -> np.ndarray:
    """How often each value is drawn in each replicate. Shapes: (N,) -> (many, size)."""
    drawn = place[random.randint(0, len(place), (many, len(place)))]
    drawn += size * np.arange(many)[:, None]
    return np.bincount(drawn.ravel(), minlength=many * size).reshape(many, size)


def standard_error(own: np.ndarray, strange: np.ndarray) -> float:
    """Standard error of `auroc`, from the structural components of DeLong et al. (1988)."""
    return _error(_components(own, strange))


def standard_error_of_difference(
    own: tuple[np.ndarray, np.ndarray], strange: tuple[np.ndarray, np.ndarray]
) -> float:
    """Standard error of AUROC(first score) - AUROC(second score) on the same images.

    DeLong et al. 1988.

    Shapes: own 2 x (N,), strange 2 x (M,).
    """
    first, second = (_components(*pair) for pair in zip(own, strange, strict=True))
    return _error((first[0] - second[0], first[1] - second[1]))


def _components(own: np.ndarray, strange: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of strange scores above each own one, and of own ones below each strange one."""
    ranks = _ranks(own, strange)
    low, high = ranks[: len(own)], ranks[len(own) :]
    above = 1 - (low - stats.rankdata(low)) / len(strange)
    below = (high - stats.rankdata(high)) / len(own)
    return above, below


def _error(components: tuple[np.ndarray, np.ndarray]) -> float:
    return math.sqrt(sum(c.var(ddof=1) / len(c) for c in components if len(c) > 1))


def aupr(own: np.ndarray, strange: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Average precision at 1:1, with strange images as positives and with own ones.

    It moves with the ratio, so the larger side is cut to the size of the smaller, at random.
    """
    random, size = np.random.RandomState(seed), min(len(own), len(strange))
    own, strange = (random.permutation(side)[:size] for side in (own, strange))
    truth, ranks = np.repeat([0, 1], size), _ranks(own, strange)
    return (
        float(average_precision_score(truth, ranks)),
        float(average_precision_score(1 - truth, -ranks)),
    )


def id_flagged_at_95pct_ood_caught(own: np.ndarray, strange: np.ndarray) -> float:
    """Share of own images at or above the score that 95 % of the strange ones reach (FPR95)."""
    ranks = _ranks(own, strange)
    reached = np.sort(ranks[len(own) :])[::-1][len(strange) - len(strange) // 20 - 1]
    return float((ranks[: len(own)] >= reached).mean())


def ood_missed_at_5pct_id_flagged(own: np.ndarray, strange: np.ndarray) -> float:
    """Share of strange images not above the lowest threshold that flags 5 % of own ones at most."""
    ranks = _ranks(own, strange)
    threshold = np.sort(ranks[: len(own)])[::-1][len(own) // 20]
    return float((ranks[len(own) :] <= threshold).mean())


def clopper_pearson(count: int, num: int) -> tuple[float, float]:
    """Exact 95 % interval of a rate, from `count` in `num` (Clopper and Pearson 1934)."""
    low, high = stats.binomtest(count, num).proportion_ci(0.95, method="exact")
    return float(low), float(high)


def _ranks(own: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """Mid-ranks of all, (N + M,): what these figures depend on, and finite whatever the scores."""
    both = np.concatenate([own, strange]).astype(np.float64)
    return np.asarray(stats.rankdata(np.where(np.isnan(both), np.inf, both)))
