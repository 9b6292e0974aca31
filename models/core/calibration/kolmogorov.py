"""The largest distance between two distribution functions: a stream's and its calibration set's."""

import math

import numpy as np

_NUM_TERMS = 100


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov and Smirnov's two-sample statistic, in [0, 1].

    Shapes: (C,) counts of either sample, not all 0, in cells of which the ends are all the places
    where it can be largest: the values of one sample and the gaps between them.
    """
    ours, theirs = first.cumsum() / first.sum(), second.cumsum() / second.sum()
    return float(np.abs(ours - theirs).max())


def p_value(statistic: float, num_first: int, num_second: int) -> float:
    """The chance of that much or more if both have one source, asymptotically; of a single look.

    Kolmogorov 1933, with the two samples' effective size.
    """
    x = statistic * math.sqrt(num_first * num_second / (num_first + num_second))
    if x < 0.2:  # where the series needs many terms, and the sum is 1 - 10^-12 or more
        return 1.0
    k = np.arange(1, _NUM_TERMS + 1)
    return float(np.clip(2 * ((-1.0) ** (k + 1) * np.exp(-2 * (k * x) ** 2)).sum(), 0, 1))
