"""Bounds that hold for one calibration set: against the beta law, and by drawing such sets."""

import math
import random

import pytest
import torch
from scipy.stats import beta, binom

from models.core.calibration.conformal import Calibration
from models.core.calibration.pac import num_needed, pac_rank, rate_bound
from models.core.calibration.rule import Guarantee, Rule

TABLE = [
    (500, 0.05, 0.0668, 17),
    (1000, 0.05, 0.0618, 39),
    (1000, 0.01, 0.0157, 5),
    (2000, 0.05, 0.0582, 84),
    (5000, 0.05, 0.0552, 225),
    (5000, 0.01, 0.0124, 39),
    (10000, 0.001, 0.0016, 5),
    (50000, 0.001, 0.0012, 39),
]
"""Size, alpha, the bound at delta 0.05 on the rate of the marginal rule, and k*."""


@pytest.mark.parametrize(("num", "alpha", "bound", "k_star"), TABLE)
def test_known_ranks_and_bounds(num: int, alpha: float, bound: float, k_star: int) -> None:
    assert pac_rank(num, alpha, 0.05) == k_star
    assert rate_bound(num, math.floor(alpha * (num + 1)), 0.05) == pytest.approx(bound, abs=5e-5)


def test_ranks_and_bounds_are_those_of_the_beta_law() -> None:
    draw = random.Random(0)
    for _ in range(30):
        num = draw.randint(1, 800)
        alpha, delta = draw.uniform(0.001, 0.9), 10 ** draw.uniform(-8, -0.1)
        rank = draw.randint(1, num)
        expected = beta.ppf(1 - delta, rank, num + 1 - rank)
        assert rate_bound(num, rank, delta) == pytest.approx(expected, rel=1e-8)
        if (1 - alpha) ** num > delta:
            with pytest.raises(ValueError, match="are needed"):
                pac_rank(num, alpha, delta)
            continue
        k = pac_rank(num, alpha, delta)
        assert beta.cdf(alpha, k, num + 1 - k) >= 1 - delta - 1e-12
        if k < num:
            assert beta.cdf(alpha, k + 1, num - k) < 1 - delta + 1e-12


@pytest.mark.parametrize(("alpha", "num"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_the_smallest_set_is_named(alpha: float, num: int) -> None:
    assert num_needed(alpha, 0.05) == num
    assert pac_rank(num, alpha, 0.05) == 1
    with pytest.raises(ValueError, match=f"{num - 1} calibration images .*: {num} are needed"):
        pac_rank(num - 1, alpha, 0.05)


@pytest.mark.parametrize(("alpha", "delta"), [(0.0, 0.1), (1.0, 0.1), (0.1, 0.0), (0.1, math.nan)])
def test_what_is_no_share_is_refused(alpha: float, delta: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        pac_rank(100, alpha, delta)


@pytest.mark.parametrize("delta", [1e-300, 1 - 1e-16])
def test_extreme_confidence_has_a_bound_too(delta: float) -> None:
    assert 0 <= rate_bound(3, 1, delta) <= rate_bound(3, 3, delta) <= 1


@pytest.mark.parametrize(("num", "alpha"), [(200, 0.05), (1000, 0.05), (1000, 0.01)])
def test_the_rate_exceeds_alpha_in_at_most_delta_of_200_calibrations(
    num: int, alpha: float
) -> None:
    generator = torch.Generator().manual_seed(num)
    # Scores are standard exponential, so that the rate beyond a threshold is known: exp(-t).
    draws = -torch.rand(200, num, generator=generator, dtype=torch.float64).log()
    rates: dict[Guarantee, int] = {"marginal": 0, "pac": 0}
    for scores in draws:
        calibration = Calibration.fit(scores)
        for name in rates:
            rule = Rule.of(calibration, alpha, name, delta=0.05)
            rates[name] += math.exp(-calibration.cut(rule.rank)) > alpha
    assert rates["pac"] <= binom.ppf(0.999, 200, 0.05)
    assert rates["marginal"] > 60  # what only holds on average does not hold for each set


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_stated_bound_holds_in_a_share_of_one_minus_delta(alpha: float) -> None:
    generator = torch.Generator().manual_seed(7)
    draws = -torch.rand(2000, 500, generator=generator, dtype=torch.float64).log()
    rank = math.floor(alpha * 501)
    rates = (-draws.sort(1).values[:, 500 - rank]).exp()
    above = int((rates > rate_bound(500, rank, 0.1)).sum())
    assert binom.ppf(0.001, 2000, 0.1) <= above <= binom.ppf(0.999, 2000, 0.1)


def test_ties_only_lower_the_rate() -> None:
    # Whole-number scores, geometric with ratio 1/2: P(score > t) = 2^-(t + 1).
    generator = torch.Generator().manual_seed(1)
    draws = torch.empty(200, 300).geometric_(0.5, generator=generator) - 1
    num_above = 0
    for scores in draws:
        calibration = Calibration.fit(scores)
        cut = calibration.cut(Rule.of(calibration, 0.1, "pac", 0.05).rank)
        num_above += 0.5 ** (cut + 1) > 0.1
    assert num_above <= binom.ppf(0.999, 200, 0.05)
