"""What one calibration set promises by itself: bounds that hold for all but a share of such sets.

The false-alarm rate of the rule "p_value <= k / (n + 1)" differs from one calibration set to the
next: of n independent scores without ties it is a draw from Beta(k, n + 1 - k) (Vovk 2012,
arXiv:1209.2673). With ties it is lower.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

_NUM_HALVINGS = 50
"""Halvings of the interval [0, 1]; a few more, and its middle would be rounded to an end."""


def pac_rank(num: int, alpha: float, delta: float) -> int:
    """The largest k whose rule keeps the rate at most alpha in all but a share delta of sets.

    That is max{k: P(Beta(k, n + 1 - k) <= alpha) >= 1 - delta}; since the k-th smallest of n
    uniform numbers has this distribution, the probability is P(Binomial(n, alpha) >= k). Raises
    ValueError with the size needed if not even k = 1 will do.
    """
    if not (0 < alpha < 1 and 0 < delta < 1):
        raise ValueError(f"alpha {alpha}, delta {delta}: accepted are numbers between 0 and 1")
    rank = _pac_rank(num, alpha, delta)
    if rank == 0:
        raise ValueError(
            f"{num} calibration images promise no rate of {alpha:g} in all but a share "
            f"{delta:g} of such sets: {num_needed(alpha, delta)} are needed"
        )
    return rank


def num_needed(alpha: float, delta: float) -> int:
    """The fewest calibration points for which `pac_rank` exists: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


@lru_cache(1024)
def rate_bound(num: int, rank: int, delta: float) -> float:
    """The rate that the rule of this rank stays below in all but a share delta of sets.

    The (1 - delta)-quantile of Beta(k, n + 1 - k), for ranks k from 1 to n: where P(Binomial(n, a)
    < k) has come down to delta, by halving.
    """
    low, high = 0.0, 1.0
    counts = torch.arange(rank, dtype=torch.float64)
    choices = _log_choices(num, counts)
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        if float(_log_masses(num, middle, counts, choices).exp().sum()) > delta:
            low = middle
        else:
            high = middle
    return high


@lru_cache(1024)
def _pac_rank(num: int, alpha: float, delta: float) -> int:
    """The rank that `pac_rank` gives, or 0 if not even k = 1 keeps the promise."""
    counts = torch.arange(num + 1, dtype=torch.float64)
    masses = _log_masses(num, alpha, counts, _log_choices(num, counts)).exp()
    # P(Binomial >= k) >= 1 - delta says that all counts below k have at most delta together.
    return int((masses.cumsum(0) <= delta).sum())


def _log_choices(num: int, counts: Tensor) -> Tensor:
    """log binomial coefficients. Shapes: (K,) -> (K,) float64."""
    total = torch.tensor(num + 1.0, dtype=torch.float64)
    return total.lgamma() - (counts + 1).lgamma() - (num - counts + 1).lgamma()


def _log_masses(num: int, share: float, counts: Tensor, choices: Tensor) -> Tensor:
    """log P(Binomial(num, share) = counts). Shapes: (K,) -> (K,) float64."""
    return choices + counts * math.log(share) + (num - counts) * math.log1p(-share)
