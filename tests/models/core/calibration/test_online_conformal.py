"""Online p-values: the arithmetic of Polya's urn, and that they are independent and uniform."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from models.core.calibration.conformal import Calibration
from models.core.calibration.online_conformal import OnlineRanks
from models.core.contract import noise


def chances(num: int, seed: int = 0) -> list[float]:
    """The numbers that break ties in a stream."""
    drawn = noise.uniform(torch.tensor([seed]), torch.tensor([0]), (1024,))[0, :num]
    return (drawn.double() + 2**-25).tolist()


def ranks_of(*scores: float, seed: int = 0) -> OnlineRanks:
    """A stream that has not begun."""
    return OnlineRanks(Calibration.fit(torch.tensor(scores)), seed)


def test_images_join_the_set_that_later_ones_are_ranked_in() -> None:
    u = chances(4)
    found = ranks_of(1, 2, 3).rank(torch.tensor([2.5, 2.5, 10, 0]))
    expected = [(1 + u[0]) / 4, (1 + 2 * u[1]) / 5, u[2] / 6, (6 + u[3]) / 7]
    assert found.p_value == pytest.approx(expected)
    assert found.cell.tolist() == [2, 2, 0, 6]


def test_equal_scores_are_in_random_order() -> None:
    u, ranks = chances(4), ranks_of(1, 1, 2)
    found = ranks.rank(torch.tensor([1.0, 1.5, 1.0, 0]))
    expected = [(1 + 3 * u[0]) / 4, (1 + u[1]) / 5, (2 + 4 * u[2]) / 6, (6 + u[3]) / 7]
    assert found.p_value == pytest.approx(expected)
    assert found.cell.tolist() == [3, 2, 3, 4]
    assert ranks.calibration_counts.tolist() == [0, 1, 0, 2, 0]
    assert ranks.num == 4


def test_nan_and_infinity_are_strangest() -> None:
    u = chances(3)
    found = ranks_of(1, 2).rank(torch.tensor([math.nan, math.inf, -math.inf]))
    assert found.cell.tolist() == [0, 0, 4]
    assert found.p_value == pytest.approx([u[0] / 3, 2 * u[1] / 4, (4 + u[2]) / 5])


def test_a_stream_in_parts_is_the_same_stream() -> None:
    scores = torch.randn(2100, generator=torch.Generator().manual_seed(0))
    calibration = Calibration.fit(torch.linspace(-2, 2, 99))
    whole, parts = OnlineRanks(calibration), OnlineRanks(calibration)
    together = whole.rank(scores)
    apart = [parts.rank(part) for part in scores.split([0, 1, 1023, 1, 999, 76])]
    assert np.array_equal(np.concatenate([part.p_value for part in apart]), together.p_value)
    assert np.array_equal(np.concatenate([part.cell for part in apart]), together.cell)
    assert whole.num == parts.num == 2100


def test_the_calibration_stays_as_it_was() -> None:
    calibration = Calibration.fit(torch.tensor([1.0, 2, 3]))
    OnlineRanks(calibration).rank(torch.tensor([0.0, 5, 2]))
    assert calibration.scores.tolist() == [1, 2, 3]


@pytest.mark.parametrize("num_values", [0, 4], ids=["continuous", "ties"])
def test_p_values_are_independent_and_uniform(num_values: int) -> None:
    rng = np.random.default_rng(7)
    num, length = 1000, 12
    drawn = rng.integers(0, num_values, (num, 17)) if num_values else rng.random((num, 17))
    scores = torch.from_numpy(drawn).float()
    streams = [OnlineRanks(Calibration.fit(row[:5]), i) for i, row in enumerate(scores)]
    p = np.stack([s.rank(row[5:]).p_value for s, row in zip(streams, scores, strict=True)])
    assert p.shape == (num, length)
    for column in p.T:
        assert kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(p.T) - np.eye(length)
    assert np.abs(correlation).max() < 4 / math.sqrt(num)
    # One set of five for all would make them share its luck: their mean would vary more.
    assert p.mean(1).var() == pytest.approx(1 / 12 / length, rel=0.15)
