"""A bet against p-values being uniform: capital that grows only if they are not.

A fair game: each image multiplies the stakes by a density of its p-value, so that while p-values
are independent and uniform the capital is a martingale that starts at 1. By Ville's inequality
(1939) the chance that it ever reaches 1 / alpha is then at most alpha, however long the stream
(Vovk, Nouretdinov and Gammerman 2003, "Testing exchangeability on-line"; Vovk 2021, "Testing
randomness online"). The p-values must be those of `models.core.calibration.online_conformal`.

A stake that was in the game from the first image on is worth nothing when the stream changes after
a million. So the capital waits in a reserve, of which every image lets a little into the game: what
entered just before the change is what grows, and the sum over entry times is a martingale too.
"""

import math

import numpy as np

BETS = (
    (0.1, 0.1, 1.0),  # few strangers, very strange
    (0.5, 0.5, 1.0),  # many strangers
    (0.5, 1.0, 2.0),  # all a little stranger
    (0.5, 2.0, 1.0),  # all a little less strange
    (0.5, 1.0, 0.5),  # many that are not strange at all: flat images, another camera
    (0.5, 2.0, 2.0),  # all alike
)
"""(w, a, b): the density 1 - w + w Beta(a, b) of p, by which a stake is multiplied."""
_SLOW = 100.0  # images; a larger number leaves more for late entries, a smaller one for early ones
_W, _A, _B = np.array(BETS).T
_LOG_NORM = np.array([math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) for _, a, b in BETS])


def bets(p_value: np.ndarray) -> np.ndarray:
    """Each bet's density, at least 1 - w. Shapes: (B,) in (0, 1) -> (B, len(BETS))."""
    p = p_value[:, None]
    return 1 - _W + _W * np.exp(_LOG_NORM + (_A - 1) * np.log(p) + (_B - 1) * np.log1p(-p))


def reserve(num: np.ndarray) -> np.ndarray:
    """The share of the capital that is not in the game after num images: from 1 down to 0."""
    return 1 / (1 + np.log1p(num / _SLOW))


class Martingale:
    """The capital of one stream, as its natural logarithm."""

    def __init__(self, alpha: float) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha {alpha}: accepted is 0 < alpha < 1")
        self.log_threshold = -math.log(alpha)
        self.num = 0
        """Images that were bet on."""
        self.log_value = 0.0
        self.log_max = 0.0
        self.alarmed_at: int | None = None
        """Number of images after which the capital first reached 1 / alpha; None: not yet."""
        self._log_stakes = np.full(len(BETS), -math.inf)

    def bet(self, p_value: np.ndarray) -> np.ndarray:
        """The log capital after each image. Shapes: (B,) in (0, 1), in order -> (B,), nats."""
        if not len(p_value):
            return np.empty(0)
        log_bets = np.log(bets(p_value))
        left = reserve(np.arange(self.num, self.num + len(p_value) + 1))
        entering = np.log((left[:-1] - left[1:]) / len(BETS))[:, None]
        # stakes[t] = (stakes[t - 1] + entering[t]) bets[t], solved for all t at once.
        growth = log_bets.cumsum(0)
        entered = np.logaddexp.accumulate(entering - (growth - log_bets))
        stakes = growth + np.logaddexp(self._log_stakes, entered)
        at_stake: np.ndarray = np.logaddexp.reduce(stakes, axis=1)
        log_capital: np.ndarray = np.logaddexp(at_stake, np.log(left[1:]))
        if self.alarmed_at is None and (reached := log_capital >= self.log_threshold).any():
            self.alarmed_at = self.num + int(reached.argmax()) + 1
        self._log_stakes, self.log_value = stakes[-1], float(log_capital[-1])
        self.log_max = max(self.log_max, float(log_capital.max()))
        self.num += len(log_capital)
        return log_capital
