"""Figures of detectors, against brute force, tables and closed forms."""

import math

import numpy as np
import pytest

from training.ood import metrics


def tied(seed: int, own: int = 40, strange: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, the strange ones a little higher."""
    random = np.random.RandomState(seed)
    return random.randint(0, 12, own) / 4, random.randint(3, 15, strange) / 4


def above(own: np.ndarray, strange: np.ndarray) -> np.ndarray:
    """1 where a strange score is above an own one, 1/2 at ties. Shapes: (N,), (M,) -> (N, M)."""
    return (strange > own[:, None]) + 0.5 * (strange == own[:, None])


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_pairs(seed: int) -> None:
    own, strange = tied(seed)
    assert metrics.auroc(own, strange) == pytest.approx(above(own, strange).mean())
    assert metrics.auroc(strange, own) == pytest.approx(1 - metrics.auroc(own, strange))


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_no_number_is_strangest(odd: float) -> None:
    own, strange = np.array([1.0, 2.0]), np.array([odd, 0.0])
    assert metrics.auroc(own, strange) == 0.5
    assert metrics.auroc(np.array([odd, 0.0]), np.array([odd])) == 0.75


@pytest.mark.parametrize("seed", range(3))
def test_the_standard_error_is_that_of_delong(seed: int) -> None:
    own, strange = tied(seed)
    pairs = above(own, strange)
    variance = pairs.mean(1).var(ddof=1) / len(own) + pairs.mean(0).var(ddof=1) / len(strange)
    assert metrics.standard_error(own, strange) == pytest.approx(math.sqrt(variance))


def test_scores_that_rank_alike_differ_without_error() -> None:
    own, strange = tied(0)
    error = metrics.standard_error_of_difference((own, own**3), (strange, strange**3))
    assert error == pytest.approx(0, abs=1e-12)
    other = tied(9)
    apart = metrics.standard_error_of_difference((own, other[0]), (strange, other[1]))
    alone = [metrics.standard_error(*pair) for pair in ((own, strange), other)]
    assert apart == pytest.approx(math.hypot(*alone), rel=0.3), "independent errors add in squares"


def test_the_bootstrap_agrees_with_resampling_by_hand() -> None:
    own, strange = tied(4, 60, 50)
    random, found = np.random.RandomState(5), []
    for _ in range(1000):
        drawn = random.choice(own, len(own)), random.choice(strange, len(strange))
        found.append(above(*drawn).mean())
    low, high = metrics.auroc_interval(own, strange, seed=1)
    assert (low, high) == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))), abs=0.012)
    assert (low, high) == metrics.auroc_interval(own, strange, seed=1)
    assert (low, high) != metrics.auroc_interval(own, strange, seed=2)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random, truth = np.random.RandomState(0), 0.5 * (1 + math.erf(0.5))  # N(1, 1) above N(0, 1)
    covered = 0
    for seed in range(200):
        own, strange = random.normal(0, 1, 60), random.normal(1, 1, 60)
        low, high = metrics.auroc_interval(own, strange, seed, num=200)
        covered += low <= truth <= high
    assert 176 <= covered <= 199


def test_precision_of_a_perfect_and_of_a_blind_score() -> None:
    own, strange = np.arange(100.0), np.arange(100.0, 500.0)
    assert metrics.aupr(own, strange) == pytest.approx((1, 1))
    assert metrics.aupr(strange, own)[0] == pytest.approx(0.31, abs=0.02), "1 - ln 2, all wrong"
    blind = metrics.aupr(np.zeros(900), np.zeros(30))
    assert blind == pytest.approx((0.5, 0.5)), "at 1:1 whatever the sizes"


def test_precision_by_hand_both_ways() -> None:
    own, strange = np.array([1.0, 3.0]), np.array([2.0, 4.0])
    assert metrics.aupr(own, strange) == pytest.approx(((1 + 2 / 3) / 2, (1 + 2 / 3) / 2))
    own, strange = np.array([1.0, 2.0, 5.0]), np.array([3.0, 4.0, 6.0])
    out, inside = (1 + 2 / 3 + 3 / 4) / 3, (1 + 1 + 3 / 5) / 3
    assert metrics.aupr(own, strange) == pytest.approx((out, inside))


def test_the_two_ways_to_fix_a_threshold() -> None:
    own, strange = np.arange(100.0), np.arange(50.0, 150.0)
    # 95 of the strange ones reach 55; 45 of the own ones do.
    assert metrics.id_flagged_at_95pct_ood_caught(own, strange) == pytest.approx(0.45)
    # Above 94 are five own ones; 50..94 are missed.
    assert metrics.ood_missed_at_5pct_id_flagged(own, strange) == pytest.approx(0.45)
    own = np.append(own, np.full(11, 60.0))
    assert metrics.id_flagged_at_95pct_ood_caught(own, strange) == pytest.approx(56 / 111)
    assert metrics.ood_missed_at_5pct_id_flagged(own, strange) == pytest.approx(0.45)


def test_ties_are_not_flagged_to_please_the_figure() -> None:
    assert metrics.ood_missed_at_5pct_id_flagged(np.zeros(40), np.zeros(40)) == 1
    assert metrics.id_flagged_at_95pct_ood_caught(np.zeros(40), np.zeros(40)) == 1


@pytest.mark.parametrize(
    ("count", "num", "low", "high"),
    [(0, 10, 0.0, 0.3085), (1, 10, 0.0025, 0.4450), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_intervals_of_rates_are_those_of_the_tables(
    count: int, num: int, low: float, high: float
) -> None:
    assert metrics.clopper_pearson(count, num) == pytest.approx((low, high), abs=5e-5)
