"""The capital of a fair game: its bets, its arithmetic, and how rarely it alarms of nothing."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from models.core.calibration.conformal import Calibration
from models.core.calibration.martingale import BETS, Martingale, bets, reserve
from models.core.calibration.online_conformal import OnlineRanks

ALPHA = 0.01


@pytest.mark.parametrize("index", range(len(BETS)))
def test_every_bet_is_fair_and_never_risks_all(index: int) -> None:
    # p = u^10 takes the singularity of p^-0.9 away; on the other side sin^2 does.
    def low(u: float) -> float:
        return float(bets(np.array([u**10]))[0, index]) * 10 * u**9

    def high(u: float) -> float:
        p = math.sin(u) ** 2
        return float(bets(np.array([p]))[0, index]) * 2 * math.sin(u) * math.cos(u)

    left, _ = quad(low, 0, 0.5**0.1)
    right, _ = quad(high, math.pi / 4, math.pi / 2)
    assert left + right == pytest.approx(1, abs=1e-6)
    everywhere = bets(np.array([1e-300, 1e-9, 0.3, 0.5, 0.9, 1 - 1e-15]))[:, index]
    assert everywhere.min() >= 0.1
    assert np.isfinite(everywhere).all()


def test_the_capital_is_the_sum_over_bets_and_times_of_entry() -> None:
    p = np.array([0.3, 0.01, 0.99, 0.5, 1e-6])
    left, found = reserve(np.arange(6)), Martingale(ALPHA).bet(p)
    assert left[0] == 1
    assert reserve(np.array([1e300]))[0] < 0.01
    for t in range(1, 6):
        capital = left[t]
        for s in range(t):
            capital += (left[s] - left[s + 1]) * bets(p[s:t]).prod(0).mean()
        assert found[t - 1] == pytest.approx(math.log(capital))


def test_a_stream_in_parts_is_the_same_stream() -> None:
    p = np.random.default_rng(0).random(300) ** 1.6
    whole, parts = Martingale(ALPHA), Martingale(ALPHA)
    together = whole.bet(p)
    apart = np.concatenate([parts.bet(part) for part in np.split(p, [0, 1, 2, 200])])
    assert apart == pytest.approx(together)
    assert parts.num == whole.num == 300
    assert parts.alarmed_at == whole.alarmed_at == int((together >= math.log(100)).argmax()) + 1
    assert parts.log_max == pytest.approx(together.max())
    assert parts.log_value == pytest.approx(together[-1])
    assert whole.log_max > whole.log_value


def test_capital_without_end_is_still_a_number() -> None:
    martingale = Martingale(ALPHA)
    assert np.isfinite(martingale.bet(np.full(20_000, 1e-9))).all()
    assert martingale.log_value > 20_000
    assert martingale.alarmed_at is not None
    assert martingale.alarmed_at < 6
    martingale.bet(np.random.default_rng(0).random(1000))
    assert martingale.log_max > martingale.log_value


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, math.nan])
def test_alpha_is_a_chance(alpha: float) -> None:
    with pytest.raises(ValueError, match="accepted is 0 < alpha < 1"):
        Martingale(alpha)


def test_uniform_p_values_reach_1_over_alpha_in_at_most_alpha_of_all_streams() -> None:
    rng, num = np.random.default_rng(1), 1000
    best = [Martingale(ALPHA).bet(p).max() for p in rng.random((num, 400))]
    for alpha in (0.5, 0.2, 0.1, 0.01):
        share = float(np.mean(np.array(best) >= -math.log(alpha)))
        assert share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / num)
        assert share > 0.05 * alpha, "the bets are hardly played"


def streams(
    num: int, length: int, rate: float, calibration: int, change: int = 0
) -> list[Martingale]:
    """Martingales after `length` images, of which from `change` on a share is strange to all."""
    rng, found = np.random.default_rng(calibration), []
    for i in range(num):
        scores = rng.standard_normal(length)
        strange = (rng.random(length) < rate) & (np.arange(length) >= change)
        scores[strange] += 9
        fresh = Calibration.fit(torch.from_numpy(rng.standard_normal(calibration)))
        martingale = Martingale(ALPHA)
        martingale.bet(OnlineRanks(fresh, i).rank(torch.from_numpy(scores)).p_value)
        found.append(martingale)
    return found


@pytest.mark.parametrize("calibration", [500, 5000])
def test_a_stream_like_the_calibration_set_hardly_ever_alarms(calibration: int) -> None:
    found = streams(25, 5000, 0.0, calibration)
    assert sum(m.alarmed_at is not None for m in found) <= 2  # of 25 at 0.01: chance of more 0.002
    assert sum(m.log_max >= math.log(4) for m in found) <= 13  # at 1/4: chance of more 0.003


@pytest.mark.parametrize("calibration", [500, 5000])
@pytest.mark.parametrize("change", [0, 1000])
def test_a_tenth_of_strangers_alarms_within_few_hundred_images(
    calibration: int, change: int
) -> None:
    found = streams(15, change + 400, 0.1, calibration, change)
    after = sorted((m.alarmed_at or math.inf) - change for m in found)
    assert after[0] > 0
    assert after[7] < 100
    assert after[13] < 300


def test_a_change_is_noticed_after_a_long_time_of_peace() -> None:
    rng, martingale = np.random.default_rng(3), Martingale(ALPHA)
    martingale.bet(rng.random(200_000))
    assert martingale.alarmed_at is None
    p = rng.random(500)
    p[rng.random(500) < 0.1] /= 5000
    martingale.bet(p)
    assert martingale.alarmed_at is not None
    assert martingale.alarmed_at < 200_200


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a little stranger", lambda p: p**1.6),
        ("less strange", lambda p: p**0.5),
        ("all alike", lambda p: 0.3 + 0.4 * p),
        ("nearly none strange", lambda p: 1 - p**2),
    ],
)
def test_other_changes_are_noticed_too(name: str, change: object) -> None:
    assert callable(change)
    martingale = Martingale(ALPHA)
    martingale.bet(change(np.random.default_rng(5).random(400)))
    assert martingale.alarmed_at is not None, name


def test_a_fixed_calibration_set_would_alarm_in_the_end() -> None:
    """Why images have to join the set: its own error is no news, and yet is bet on."""
    rng, num, alarms = np.random.default_rng(2), 200, 0
    for _ in range(20):
        calibration, scores = np.sort(rng.random(num)), rng.random(20_000)
        above = num - calibration.searchsorted(scores)
        martingale = Martingale(ALPHA)
        martingale.bet((above + rng.random(20_000)) / (num + 1))
        alarms += martingale.alarmed_at is not None
    assert alarms >= 4
