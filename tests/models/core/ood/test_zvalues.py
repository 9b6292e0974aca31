"""z-values against the normal law that they should follow, and Fisher's sum against SciPy."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from models.core.ood.zvalues import fisher, fit_knots, z_value


def draws(num: int, seed: int) -> torch.Tensor:
    """Of the gamma law of shape 2 and scale 2. -> float64 (num,)."""
    return torch.from_numpy(np.random.default_rng(seed).gamma(2, 2, num))


SAMPLE = draws(20_000, seed=0)


def z_of(*scores: float, sample: torch.Tensor = SAMPLE) -> list[float]:
    """z-values of these scores by a fit to a sample."""
    knots = fit_knots(sample, 129)
    found: list[float] = z_value(torch.tensor(scores).double(), knots, len(sample)).tolist()
    return found


def test_inside_the_sample_z_is_the_normal_quantile_of_the_share_below() -> None:
    levels = torch.linspace(0.01, 0.99, 50)
    scores = torch.from_numpy(stats.gamma(2, scale=2).ppf(levels.numpy()))
    expected = stats.norm.ppf(levels.numpy())
    assert z_of(*scores.tolist()) == pytest.approx(expected, abs=0.06)


def test_a_score_of_the_sample_is_at_the_middle_of_its_own_share() -> None:
    sample = torch.arange(60.0).double()
    expected = stats.norm.ppf((np.arange(60) + 0.5) / 60)
    assert z_of(*sample.tolist(), sample=sample) == pytest.approx(expected, abs=2e-3)


def test_new_images_of_the_same_kind_have_standard_normal_z() -> None:
    fresh = draws(5_000, seed=1)
    z = torch.tensor(z_of(*fresh.tolist()))
    assert stats.kstest(z.numpy(), "norm").pvalue > 1e-3


def test_beyond_the_sample_z_goes_on_in_a_straight_line() -> None:
    top, bottom = float(SAMPLE.max()), float(SAMPLE.min())
    high = z_of(top, top + 10, top + 20, top + 1000)
    assert high[1] - high[0] == pytest.approx(high[2] - high[1])
    slope = (torch.quantile(SAMPLE, 0.99) - SAMPLE.quantile(0.5)) / stats.norm.ppf(0.99)
    assert high[1] - high[0] == pytest.approx(10 / float(slope))
    assert high[3] > high[2] + 100
    low = z_of(bottom, bottom - 1, bottom - 2)
    assert low[0] - low[1] == pytest.approx(low[1] - low[2])
    assert low[1] < low[0]


def test_z_never_falls_where_the_score_rises() -> None:
    scores = torch.linspace(-20, 80, 4001).double()
    z = torch.tensor(z_of(*scores.tolist()))
    assert bool((z.diff() > 0).all())


def test_ties_and_what_is_no_number_count_as_strange() -> None:
    steps = torch.arange(10.0).double().repeat_interleave(100)
    z = z_of(3.0, 3.0000001, 2.9999999, sample=steps)
    share_up_to_3 = stats.norm.ppf(0.4)
    assert z[0] == pytest.approx(share_up_to_3, abs=0.05)
    assert z[0] <= z[1]
    assert z[2] <= z[0]
    assert z_of(math.nan, math.inf, -math.inf) == [1e6, 1e6, -1e6]


def test_a_score_that_is_nearly_constant_makes_no_division_by_nothing() -> None:
    flat = torch.zeros(1000).double()
    flat[:3] = 1.0
    z = z_of(0.0, 1.0, 2.0, -1.0, sample=flat)
    assert all(math.isfinite(value) for value in z)
    assert z[3] < z[0] < z[1] <= z[2]


@pytest.mark.parametrize(
    "scores",
    [torch.zeros(49), torch.tensor([math.nan] * 60), torch.tensor([math.inf] + [0.0] * 60)],
)
def test_too_little_to_fit_is_refused(scores: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="50 or more, all finite"):
        fit_knots(scores, 129)


def test_the_sum_is_fisher_s() -> None:
    z = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)).double()
    expected = [
        stats.combine_pvalues(stats.norm.sf(row), method="fisher").statistic for row in z.numpy()
    ]
    assert fisher(z).tolist() == pytest.approx(expected)


def test_the_sum_tells_far_from_farther_and_is_one_sided() -> None:
    far, farther, low = fisher(torch.tensor([[50.0, 0.0], [5000.0, 0.0], [-1e6, 0.0]])).tolist()
    assert farther > 1000 * far > 0
    assert low == pytest.approx(2 * math.log(2))
