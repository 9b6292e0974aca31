"""Mixtures of logistics over all integers against distribution functions and exact sums."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from models.core.integer.maps import IntegerCoupling
from models.core.integer.net import PlaceNet, Table
from models.core.integer.prior import IntegerMixture, integer_mixture
from tests.support.models.invertible import draws, wild


def pointwise(num_in: int, num_out: int) -> nn.Module:
    return PlaceNet(num_in, num_out, (1, 1), channels=6, num_blocks=1)


def mixture(dtype: torch.dtype = torch.float64, num: int = 5) -> IntegerMixture:
    """One latent a row, of scales from a hundredth of a level to tens of levels."""
    log_weight = draws(num, (3,), seed=1).log_softmax(-1)
    mean = 6 * draws(num, (3,), seed=2)
    log_scale = torch.linspace(-4, 3, 3 * num, dtype=torch.float64).view(3, num).T
    return IntegerMixture(log_weight.to(dtype), mean.to(dtype), log_scale.to(dtype))


def test_a_cell_has_the_difference_of_the_distribution_function() -> None:
    prior = mixture()
    z = torch.arange(-40, 41, dtype=torch.float64)[:, None].expand(-1, 5)
    scale = prior.log_scale.exp()
    upper, lower = (((z + half)[..., None] - prior.mean) / scale for half in (0.5, -0.5))
    mass = (prior.log_weight.exp() * (upper.sigmoid() - lower.sigmoid())).sum(-1)
    torch.testing.assert_close(prior.log_prob(z).exp(), mass, atol=1e-13, rtol=1e-9)


def test_the_mass_of_all_integers_is_one() -> None:
    z = torch.arange(-1500, 1501, dtype=torch.float64)[:, None].expand(-1, 5)
    mass = mixture().log_prob(z).exp().sum(0)
    torch.testing.assert_close(mass, torch.ones_like(mass), atol=1e-10, rtol=0)


def test_the_mass_of_a_large_box_in_the_plane_is_one() -> None:
    """Two pixels through a coupling; the second latent's prior is given the first latent."""
    flow = wild(IntegerCoupling(2, 2, pointwise, unit=4.0, shift=3.0))
    first, second = wild(Table(6, (1, 1)), 0.05), wild(pointwise(1, 6))
    ticks = torch.arange(-150, 151, dtype=torch.float64)
    x = torch.cartesian_prod(ticks, ticks).view(-1, 2, 1, 1)
    given, last = flow(x).chunk(2, 1)
    log_prob = integer_mixture(first(given), 1, 4.0).log_prob(given)
    log_prob = log_prob + integer_mixture(second(given / 4.0), 1, 4.0).log_prob(last)
    assert float(log_prob.exp().max()) < 0.5
    assert abs(float(log_prob.exp().sum()) - 1) < 1e-5


@pytest.mark.parametrize("log_scale", [-4.0, 0.0, 4.0])
def test_far_out_float32_is_finite_and_falls_like_a_logistic(log_scale: float) -> None:
    one = torch.zeros(1, 1)
    prior = IntegerMixture(one, one, one + log_scale)
    z = torch.tensor([[1e4], [-1e4], [1e6], [-1e6]], requires_grad=True)
    log_prob = prior.log_prob(z)
    # log(e^(-(z - 1/2) / s) (1 - e^(-1 / s))) where sigmoid's tail is an exponential
    scale = math.exp(log_scale)
    expected = -(z.abs() - 0.5) / scale + math.log(-math.expm1(-1 / scale))
    torch.testing.assert_close(log_prob, expected, atol=1e-3, rtol=1e-5)
    (gradient,) = torch.autograd.grad(log_prob.sum(), z)
    torch.testing.assert_close(gradient, -z.sign() / scale)


def test_float32_agrees_with_float64() -> None:
    z = torch.arange(-300, 301)[:, None].expand(-1, 5)
    found = mixture(torch.float32).log_prob(z.float())
    torch.testing.assert_close(found, mixture().log_prob(z.double()).float(), atol=1e-4, rtol=1e-4)


def test_sampling_by_an_even_lattice_of_numbers_gives_the_probabilities() -> None:
    """No randomness: every cell of the unit square once, so that the error is the lattice's."""
    ticks = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    u = torch.cartesian_prod(ticks, ticks)
    prior = mixture(num=4)
    for row in range(4):
        one = IntegerMixture(*(part[row].expand(len(u), -1) for part in prior))
        z = one.sample(u, torch.ones(len(u), dtype=torch.float64))
        assert torch.equal(z, z.round())
        for level in range(-8, 9):
            found = float((z == level).double().mean())
            expected = float(one.log_prob(torch.full((len(u),), float(level)).double())[0].exp())
            assert abs(found - expected) < 5e-3


def test_a_temperature_narrows_every_component() -> None:
    one = torch.zeros(1, 1)
    prior = IntegerMixture(one, one + 3.0, one + math.log(20.0))
    u = torch.tensor([[0.3, 0.9]])
    at = partial(prior.sample, u)
    far, near, none = (float(at(torch.tensor([t]))) for t in (1.0, 0.5, 0.0))
    logit = math.log(9.0)
    assert (far, near, none) == (round(3 + 20 * logit), round(3 + 10 * logit), 3.0)


def test_a_low_temperature_takes_the_heaviest_component() -> None:
    log_weight = torch.tensor([[0.3, 0.4, 0.3]]).log()
    mean, log_scale = torch.tensor([[0.0, 50.0, 90.0]]), torch.zeros(1, 3)
    prior = IntegerMixture(log_weight, mean, log_scale)
    for first in (0.0, 0.5, 0.999):
        u = torch.tensor([[first, 0.5]])
        assert float(prior.sample(u, torch.tensor([0.0]))) == 50.0


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_are_finite(u: float) -> None:
    one = torch.zeros(1, 1)
    prior = IntegerMixture(one, one, one + 2.0)
    z = prior.sample(torch.full((1, 2), u), torch.ones(1))
    assert 100 < float(z.abs()) < 200


def test_a_network_s_numbers_say_weight_mean_and_scale_in_this_order() -> None:
    num_components, num_channels, unit = 2, 3, 8.0
    params = torch.zeros(1, 3, num_components, num_channels, 1, 1)
    params[0, 0, 1, 2] = 1.5
    params[0, 1, 0, 1] = 0.25
    params[0, 2, 1, 0] = -1.0
    prior = integer_mixture(params.flatten(1, 3), num_channels, unit)
    assert prior.mean.shape == (1, num_channels, 1, 1, num_components + 1)
    weight, mean, log_scale = (part[0, :, 0, 0] for part in prior)
    even, heavy = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.5]).softmax(0)
    torch.testing.assert_close(weight[:, :2].exp(), 0.999 * torch.stack([even, even, heavy]))
    expected = torch.tensor([[0.0, 16.0], [0.25, 16.0], [0.0, 16.0]])
    torch.testing.assert_close(mean[:, :2], expected)
    start, least, most = math.log(unit / num_components), -4.0, math.log(8 * unit)
    torch.testing.assert_close(log_scale[:, 0], torch.full((3,), start))
    part = torch.logit(torch.tensor((start - least) / (most - least)))
    assert float(log_scale[0, 1]) == pytest.approx(
        least + (most - least) * float((part - 1).sigmoid())
    )
    rare = torch.tensor([math.log(0.001), unit, math.log(unit / 2)])
    torch.testing.assert_close(torch.stack([p[0, 0, 0, 0, 2] for p in prior]), rare)
    torch.testing.assert_close(weight.logsumexp(1), torch.zeros(3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [-1e6, 1e6])
def test_wild_numbers_of_a_network_do_no_harm(size: float) -> None:
    params = torch.full((1, 6, 1, 1), size).requires_grad_(True)
    log_prob = integer_mixture(params, 1, 127.5).log_prob(torch.full((1, 1, 1, 1), 20.0))
    (gradient,) = torch.autograd.grad(log_prob.sum(), params)
    assert bool(log_prob.isfinite().all())
    assert bool(gradient.isfinite().all())


def test_no_level_costs_more_than_the_wide_component() -> None:
    """A latent that the network is sure of, and wrong about by all levels."""
    params = torch.tensor([0.0, -8.0, -20.0]).view(1, 3, 1, 1)
    prior = integer_mixture(params, 1, 127.5)
    assert -4.0 <= float(prior.log_scale[..., 0]) < -3.99
    assert 0 > float(prior.log_prob(torch.zeros(1, 1, 1, 1))) > -0.01
    assert -16 < float(prior.log_prob(torch.full((1, 1, 1, 1), 255.0))) < -10
