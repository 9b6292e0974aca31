"""Targets of reverse KL: the potentials' formulas, their constants, and draws from them."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from models.core.distributions.targets import GAUSSIAN_FACTOR, GAUSSIAN_MEAN, TARGETS
from tests.support.models.invertible import draws

every_target = pytest.mark.parametrize("name", TARGETS)


def potential(name: str, a: float, b: float) -> float:
    """Table 1 of the paper, digit by digit, where |a| <= 4."""
    w1 = math.sin(2 * math.pi * a / 4)
    w2 = 3 * math.exp(-0.5 * ((a - 1) / 0.6) ** 2)
    w3 = 3 / (1 + math.exp(-(a - 1) / 0.3))
    if name == "potential-1":
        left, right = (math.exp(-0.5 * ((a + c) / 0.6) ** 2) for c in (2, -2))
        return 0.5 * ((math.hypot(a, b) - 2) / 0.4) ** 2 - math.log(left + right)
    if name == "potential-2":
        return 0.5 * ((b - w1) / 0.4) ** 2
    upper = math.exp(-0.5 * ((b - w1) / (0.35 if name == "potential-3" else 0.4)) ** 2)
    below = w2 if name == "potential-3" else w3
    return -math.log(upper + math.exp(-0.5 * ((b - w1 + below) / 0.35) ** 2))


@pytest.mark.parametrize("name", [name for name in TARGETS if name.startswith("potential")])
def test_potentials_are_those_of_the_paper(name: str) -> None:
    ticks = torch.linspace(-3.9, 3.9, 14, dtype=torch.float64)
    x = torch.cartesian_prod(ticks, ticks)
    found = -TARGETS[name].log_prob(x)
    expected = torch.tensor([potential(name, *pair) for pair in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@every_target
def test_the_box_holds_all_of_it_and_the_bound_is_one(name: str) -> None:
    target = TARGETS[name]
    grid = target.cell_centres(500)
    log_prob = target.log_prob(grid)
    assert float(log_prob.max()) <= target.most
    edge = grid.abs().amax(1) > target.half_width - 0.1
    assert float(log_prob[edge].max()) < float(log_prob.max()) - 12
    assert grid.abs().max() < target.half_width


@every_target
def test_the_constant_does_not_depend_on_the_grid(name: str) -> None:
    target = TARGETS[name]
    assert target.log_z(200) == pytest.approx(target.log_z(), abs=2e-4)


def test_the_constants_that_are_known() -> None:
    factor = torch.tensor(GAUSSIAN_FACTOR, dtype=torch.float64)
    assert TARGETS["gaussian"].log_z() == pytest.approx(float(factor.det().log()), abs=1e-6)
    # Of the wave: 8 within the walls, a half normal's mass of width 0.4 beyond either.
    across = 8 + 0.4 * math.sqrt(2 * math.pi)
    wave = math.log(across * 0.4 * math.sqrt(2 * math.pi))
    assert TARGETS["potential-2"].log_z() == pytest.approx(wave, abs=1e-5)


def test_the_gaussian_is_the_one_of_its_mean_and_factor() -> None:
    factor = torch.tensor(GAUSSIAN_FACTOR, dtype=torch.float64)
    mean = torch.tensor(GAUSSIAN_MEAN, dtype=torch.float64)
    known = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    x = 2 * draws(20, (2,))
    found = TARGETS["gaussian"].log_prob(x) - factor.det().log()
    torch.testing.assert_close(found, known.log_prob(x))


@every_target
def test_draws_have_the_density(name: str) -> None:
    """Counts in cells of equal size against the density's mass there: chi squared."""
    target, num, cells, fine = TARGETS[name], 8000, 14, 280
    x = target.draw(num, seed=1)
    assert x.shape == (num, 2)
    assert x.dtype == torch.float32
    width = 2 * target.half_width / cells
    place = ((x + target.half_width) / width).long()
    counts = torch.bincount(place[:, 0] * cells + place[:, 1], minlength=cells**2).double()
    density = target.log_prob(target.cell_centres(fine)).exp()
    mass = density.view(cells, fine // cells, cells, fine // cells).sum((1, 3)).flatten()
    expected = num * mass / mass.sum()
    enough = expected >= 5
    rest = torch.stack([counts[~enough].sum(), expected[~enough].sum()])
    statistic = ((counts - expected).square() / expected)[enough].sum()
    statistic = statistic + (rest[0] - rest[1]).square() / rest[1].clamp(min=1)
    assert float(statistic) < chi2.ppf(0.9999, int(enough.sum()))
    assert int(enough.sum()) > 10


def test_draws_are_the_same_for_ever_and_the_first_do_not_depend_on_how_many() -> None:
    target = TARGETS["potential-3"]
    x = target.draw(100)
    assert torch.equal(target.draw(3000)[:100], x)
    assert not torch.equal(target.draw(100, seed=1), x)
    assert len(np.unique(x.numpy(), axis=0)) == 100
