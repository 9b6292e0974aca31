"""Conformal p-values, thresholds and the false discovery rate, by enumeration and by oracle."""

import math
import re
from fractions import Fraction
from itertools import permutations, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from torch import Tensor

from models.core.calibration.conformal import Calibration, benjamini_hochberg, smallest_alpha
from models.core.ood.register import SCORES

quick = settings(deadline=None, derandomize=True, max_examples=100)
finite = st.floats(-1e6, 1e6, width=32)


def fitted(*scores: float) -> Calibration:
    """A calibration on these scores."""
    return Calibration.fit(torch.tensor(scores))


def p_of(calibration: Calibration, *scores: float) -> list[float]:
    """p-values as plain numbers."""
    return calibration.p_value(torch.tensor(scores)).tolist()


def test_p_values_are_ranks_and_high_scores_are_strange() -> None:
    calibration = fitted(3.0, 1.0, 2.0, 4.0)
    found = p_of(calibration, 0.5, 1.5, 2.5, 3.5, 4.5)
    assert found == [5 / 5, 4 / 5, 3 / 5, 2 / 5, 1 / 5]
    assert calibration.p_value(torch.tensor([0.0])).dtype == torch.float64


def test_ties_count_as_strange() -> None:
    calibration = fitted(1.0, 2.0, 2.0, 3.0)
    assert p_of(calibration, 2.0) == [4 / 5]  # one is below; the ties give no comfort
    assert p_of(calibration, 3.0) == [2 / 5]


def test_what_is_no_number_gets_the_smallest_p() -> None:
    calibration = fitted(1.0, 2.0, 3.0)
    assert p_of(calibration, math.nan, math.inf, 1e38, -math.inf) == [0.25, 0.25, 0.25, 1.0]


def levels(num: int) -> list[Fraction]:
    """alphas on and between the p-values that num calibration scores can give."""
    return [Fraction(k, 2 * (num + 1)) for k in range(1, 2 * (num + 1))]


@pytest.mark.parametrize("num", [1, 3, 5])
def test_the_false_alarm_rate_over_all_orders_is_exact(num: int) -> None:
    # Exchangeable and without ties: each order of num + 1 values is as likely.
    orders = list(permutations(range(num + 1)))
    p = torch.tensor([p_of(fitted(*map(float, o[1:])), float(o[0]))[0] for o in orders])
    for alpha in levels(num):
        share = Fraction(int((p <= float(alpha) + 1e-12).sum()), len(orders))
        assert share == Fraction(math.floor(alpha * (num + 1)), num + 1)
        assert share <= alpha


def test_the_false_alarm_rate_with_ties_stays_below_alpha() -> None:
    # All independent draws of five values out of three: ties in every possible pattern.
    draws = list(product((0.0, 1.0, 2.0), repeat=5))
    p = torch.tensor([p_of(fitted(*d[1:]), d[0])[0] for d in draws])
    for alpha in levels(4):
        assert int((p <= float(alpha) + 1e-12).sum()) <= alpha * len(draws)


def alarms(calibration: Calibration, scores: Tensor, alpha: float) -> tuple[list[bool], list[bool]]:
    """Who is flagged by p-value, and who by threshold."""
    by_p = (calibration.p_value(scores) <= alpha).tolist()
    return by_p, (scores > calibration.threshold(alpha)).tolist()


@quick
@given(
    st.lists(finite, min_size=1, max_size=20),
    st.lists(finite, min_size=1, max_size=5),
    st.integers(1, 60),
    st.sampled_from(["below", "at", "above", "between"]),
)
def test_threshold_and_p_value_agree(
    scores: list[float], new: list[float], rank: int, where: str
) -> None:
    num = len(scores)
    at = min(rank, num) / (num + 1)
    alpha = {
        "below": math.nextafter(at, 0),
        "at": at,
        "above": math.nextafter(at, 1),
        "between": min(rank, num) / (num + 1) + 0.5 / (num + 1),
    }[where]
    calibration = fitted(*scores)
    if alpha < 1 / (num + 1):
        with pytest.raises(ValueError, match="out of reach"):
            calibration.threshold(alpha)
        return
    by_p, by_threshold = alarms(calibration, torch.tensor([*scores, *new]), alpha)
    assert by_p == by_threshold


@quick
@given(st.integers(1, 5000), st.data())
def test_threshold_is_the_right_calibration_score(num: int, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, num))
    calibration = Calibration(torch.arange(num).float())
    assert calibration.threshold(rank / (num + 1)) == num - rank


@pytest.mark.parametrize("alpha", [0.1999, 0.0, 1.0, -0.5, 1.5, math.nan, 1e-300])
def test_an_alpha_out_of_reach_is_refused(alpha: float) -> None:
    calibration = fitted(1.0, 2.0, 3.0, 4.0)  # the smallest p-value is 0.2
    with pytest.raises(ValueError, match=r"4 calibration images allow 0\.2 <= alpha < 1"):
        calibration.threshold(alpha)


def test_an_alpha_just_below_one_flags_all_but_the_most_ordinary() -> None:
    calibration = fitted(1.0, 2.0, 3.0, 4.0)
    assert calibration.threshold(math.nextafter(1, 0)) == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_calibration_scores_must_be_numbers(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        fitted(1.0, bad)


def test_a_scores_precision_does_not_decide_an_alarm() -> None:
    # Calibrated in float32; the same image scored in float64 must tie, not pass.
    calibration = fitted(0.1, 0.2, 0.3)
    exact = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert torch.equal(calibration.p_value(exact), calibration.p_value(exact.float()))


@quick
@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_that_of_scipy(p_values: list[float]) -> None:
    p_values += p_values[:3]  # ties
    found = benjamini_hochberg(torch.tensor(p_values, dtype=torch.float64))
    torch.testing.assert_close(
        found, torch.from_numpy(false_discovery_control(p_values)), atol=1e-12, rtol=0
    )


def test_a_batch_with_many_small_p_values_is_rejected_further_than_one() -> None:
    many = benjamini_hochberg(torch.tensor([0.04, 0.9, 0.04, 0.04], dtype=torch.float64))
    assert (many <= 0.06).tolist() == [True, False, True, True]
    alone = benjamini_hochberg(torch.tensor([0.04, 0.9, 0.9, 0.9], dtype=torch.float64))
    assert alone[0].item() == pytest.approx(0.16)


def test_scores_point_one_way_only() -> None:
    rows = {"energy": torch.tensor([-3.0, 0.0, 5.0])}
    assert SCORES["energy"].compute(rows, 99.0).tolist() == [-3.0, 0.0, 5.0]
    assert SCORES["energy_typicality"].compute(rows, 1.0).tolist() == [4.0, 1.0, 4.0]
    rows = {"log_prob": torch.tensor([-90.0, -85.0, -50.0])}
    assert SCORES["nll"].compute(rows, 99.0).tolist() == [90.0, 85.0, 50.0]
    assert SCORES["typicality"].compute(rows, -85.0).tolist() == [5.0, 0.0, 35.0]
    for score in SCORES.values():
        assert score.unit
        assert score.description.endswith(".")


def test_the_alpha_that_a_refusal_names_is_accepted() -> None:
    for num in (*range(1, 3000), 8000, 9_999, 10_000, 65_535, 10**6):
        named = smallest_alpha(num)
        assert float(named) >= 1 / (num + 1), num
        assert float(named) <= 1.11 / (num + 1), num
    for num in (1, 2, 135, 253, 8000):
        calibration = Calibration.fit(torch.arange(float(num)))
        with pytest.raises(ValueError, match="out of reach") as refused:
            calibration.rank(1e-9)
        (named,) = re.findall(r"allow (\S+) <= alpha", str(refused.value))
        assert calibration.rank(float(named)) >= 1
