"""The variational bound of diffusion models against distributions that are known exactly."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from models.core.contract.grid import Grid
from models.core.contract.noise import normal
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.diffusion.bound import DiffusionBound, decoder_log_prob, expected_clean
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.likelihood import DiffusionLogLikelihood, DiffusionLogLikelihoodParams
from models.core.diffusion.schedule import Schedule
from tests.support.models.diffusion_oracle import MixtureOracle, gaussian_oracle

GREY = Grid(256)
Params = DiffusionLogLikelihoodParams


def narrow(num_train_steps: int, size: int = 4) -> MixtureOracle:
    """Its pixels are never cut to [-1, 1]: the ends are six standard deviations away."""
    return gaussian_oracle(0.1, 0.15, (1, size, size), Schedule(num_train_steps)).double()


def pixels(model: MixtureOracle, num: int, seed: int = 0) -> Tensor:
    """Events drawn from the model's data, on the grid, in float64."""
    z, _ = model.sample_data(num, seed)
    return GREY.values(GREY.levels((z + 1) / 2)).double()


def log_cells(x: Tensor, mean: float, std: float) -> Tensor:
    """log of the normal's mass in each pixel's cell, summed. Shapes: (B, C, H, W) -> (B,)."""
    law = Normal(torch.tensor(mean).double(), std)
    clean, half = 2 * x - 1, 1 / 255
    return (law.cdf(clean + half) - law.cdf(clean - half)).log().flatten(1).sum(1)


def rated(model: DiffusionModel, x: Tensor, seeds: Tensor | None = None, **params: Any) -> Tensor:
    """log_prob of each event, with seeds of its own. -> (B,)."""
    seeds = torch.arange(len(x)) if seeds is None else seeds
    return run(DiffusionLogLikelihood(model), {"x": x, "seed": seeds}, Params(**params))["log_prob"]


@pytest.mark.parametrize(("std", "mean"), [(0.004, 0.3), (0.05, -1.0), (3.0, 0.9), (0.001, 1.0)])
def test_the_decoder_is_a_distribution_over_the_levels(std: float, mean: float) -> None:
    x = GREY.values(torch.arange(256)).double()[:, None]
    where = torch.full_like(x, mean)
    log_prob = decoder_log_prob(GREY, x, where, torch.full((256,), std, dtype=torch.float64))
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-12)
    assert bool(log_prob.isfinite().all()), "tails do not underflow"
    law, edge = Normal(where[:, 0], std), 2 * torch.arange(256).double() / 255 - 1
    below = torch.where(edge > -0.999, law.cdf(edge - 1 / 255), 0.0)
    above = torch.where(edge < 0.999, law.cdf(edge + 1 / 255), 1.0)
    torch.testing.assert_close(log_prob.exp(), above - below, atol=1e-12, rtol=1e-9)


def test_the_expected_image_is_a_possible_one() -> None:
    z, eps = torch.tensor([0.5, 3.0, -2.0, 0.4]).view(4, 1, 1, 1).double().unbind(0), 0.5
    alpha_bar, beta_bar = torch.tensor([0.8]).double(), torch.tensor([0.6]).double()
    found = [expected_clean(v[None], torch.full_like(v[None], eps), alpha_bar, beta_bar) for v in z]
    expected = [0.25, 1.0, -1.0, 0.125]
    torch.testing.assert_close(torch.cat(found).flatten(), torch.tensor(expected).double())


def test_the_prior_is_compared_in_closed_form() -> None:
    model = narrow(1000)
    x = pixels(model, 6)
    t = torch.tensor([1000])
    scale = model.schedule.beta_bar(t)
    q = Normal(model.schedule.alpha_bar(t) * (2 * x - 1), scale.expand_as(x))
    expected = -kl_divergence(q, Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(DiffusionBound(model).prior(x), expected, atol=0, rtol=1e-6)


def _posterior(schedule: Schedule, t: Tensor, s: Tensor, z: Tensor, clean: Tensor) -> Normal:
    """q(z_s given z_t, x) by Bayes' rule: precisions add. All of one row."""
    alpha = schedule.alpha_bar(t) / schedule.alpha_bar(s)
    beta_squared = 1 - alpha.square()
    from_clean, from_z = 1 / schedule.beta_bar(s).square(), alpha.square() / beta_squared
    mean = schedule.alpha_bar(s) * clean * from_clean + z / alpha * from_z
    precision = from_clean + from_z
    return Normal(mean / precision, precision.rsqrt())


@pytest.mark.parametrize("is_wide", [False, True])
@pytest.mark.parametrize("num_steps", [20, 7])
def test_every_term_is_a_kl_between_normals(num_steps: int, is_wide: bool) -> None:
    model = narrow(20)
    x = pixels(model, num_steps - 1)
    index = torch.arange(2, num_steps + 1)
    seed, step = torch.arange(len(x)), torch.full((len(x),), 5)
    label = torch.full((len(x),), -1)
    rows: Rows = {"x": x, "seed": seed, "step": step, "label": label}
    found = DiffusionBound(model).term(
        rows, index, torch.full_like(index, num_steps), torch.full((len(x),), is_wide)
    )
    noise = normal(seed, step, model.event_shape).double()
    for row, i in enumerate(index.tolist()):
        t, s = (torch.tensor([round(j * 20 / num_steps)]) for j in (i, i - 1))
        clean = 2 * x[row : row + 1] - 1
        alpha_bar, beta_bar = model.schedule.alpha_bar(t), model.schedule.beta_bar(t)
        z = alpha_bar * clean + beta_bar * noise[row]
        seen = (z - beta_bar * model.eps(z, t, label[:1])) / alpha_bar
        q = _posterior(model.schedule, t, s, z, clean)
        p = _posterior(model.schedule, t, s, z, seen)
        if is_wide:
            beta_squared = 1 - (alpha_bar / model.schedule.alpha_bar(s)).square()
            p = Normal(p.loc, beta_squared.sqrt())
        assert float(found[row]) == pytest.approx(-float(kl_divergence(q, p).sum()), rel=1e-9)


def _chain_law(model: MixtureOracle, num_steps: int) -> tuple[float, float]:
    """Mean and variance of what the chain gives to the cells: all its steps are linear."""
    schedule, shape = model.schedule, (1, *model.event_shape)
    mean, var = 0.0, 1.0
    label = torch.tensor([-1])
    for i in range(num_steps, 0, -1):
        t, s = (torch.tensor([round(j * schedule.num_train_steps / num_steps)]) for j in (i, i - 1))
        alpha_bar, beta_bar = float(schedule.alpha_bar(t)), float(schedule.beta_bar(t))
        ends = []
        for value in (0.0, 1.0):
            z = torch.full(shape, value, dtype=torch.float64)
            seen = (z - beta_bar * model.eps(z, t, label)) / alpha_bar
            law = _posterior(schedule, t, s, z, seen) if i > 1 else Normal(seen, beta_bar)
            ends.append(float(law.loc.flatten()[0]))
        slope, noise = ends[1] - ends[0], float(law.scale.flatten()[0])
        mean, var = ends[0] + slope * mean, slope**2 * var + noise**2
    return mean, var


def test_of_every_image_it_is_at_most_the_log_probability_under_its_chain() -> None:
    model, num_seeds = narrow(12), 40
    images = pixels(model, 30)
    mean, var = _chain_law(model, 12)
    exact = log_cells(images, mean, math.sqrt(var))
    each = rated(model, images.repeat_interleave(num_seeds, 0)).double().view(30, num_seeds)
    error = each.std(1) / math.sqrt(num_seeds)
    assert bool((each.mean(1) <= exact + 3 * error).all())
    assert float((exact - each.mean(1)).mean()) > 0.1, "the chain is short, so the bound is loose"


def test_it_approaches_the_exact_likelihood_as_the_chain_gets_longer() -> None:
    gaps = []
    for num_train_steps in (10, 40, 160):
        model = narrow(num_train_steps, 8)
        x = pixels(model, 40)
        found = rated(model, x, variance="beta").double()
        gap = (log_cells(x, 0.1, 0.15) - found) / model.num_dims
        error = float(gap.std()) / math.sqrt(len(x))
        # Not of each image, but on average over the data no model can exceed the data's own law.
        assert float(gap.mean()) > -3 * error
        gaps.append(float(gap.mean()))
    assert gaps[0] > 2.5 * gaps[1] > 6 * gaps[2]
    assert gaps[2] < 0.1, "nats a pixel"


def test_a_coarser_chain_has_a_bound_of_its_own_that_is_lower() -> None:
    model = narrow(60, 8)
    x = pixels(model, 15)
    exact = log_cells(x, 0.1, 0.15).mean()
    means = [rated(model, x, num_steps=n, variance="beta").double().mean() for n in (5, 20, 60)]
    assert means[0] < means[1] < means[2] < exact
    whole = rated(model, x[:5], num_steps=60, variance="beta")
    assert torch.equal(whole, rated(model, x[:5], variance="beta"))


def test_which_variance_is_right_depends_on_how_much_the_pixels_vary() -> None:
    """Ho et al. 2020, section 3.2: beta for data that vary as noise does, else the posterior's."""
    for std, better, worse in ((0.15, "beta", "posterior"), (1e-4, "posterior", "beta")):
        model = gaussian_oracle(0.1, std, (1, 8, 8), Schedule(80)).double()
        x = pixels(model, 5)
        found = [rated(model, x, variance=name).double().mean() for name in (better, worse)]
        assert found[0] > found[1] + 5


@pytest.mark.parametrize(("num_terms", "num_steps"), [(2, 9), (4, 9), (5, 6), (9, 9), (1, 1)])
def test_strata_are_a_partition_and_weigh_what_they_hold(num_terms: int, num_steps: int) -> None:
    bound, num = DiffusionBound(narrow(9)), 400
    every: list[int] = []
    for place in range(num_terms):
        rows = {"seed": torch.arange(num), "step": torch.full((num,), place)}
        asked = [torch.full((num,), n) for n in (place, num_terms, num_steps)]
        index, size = bound.chosen(rows, *asked)
        counts = index.bincount(minlength=num_steps + 1)
        inside = counts.nonzero()[:, 0].tolist()
        assert inside == list(range(inside[0], inside[0] + len(inside)))
        assert size.tolist() == [len(inside)] * num
        assert float(counts[inside].min()) > 0.6 * num / len(inside), "evenly drawn"
        every += inside
    assert every == list(range(1, num_steps + 1))


@pytest.mark.parametrize("variance", ["posterior", "beta"])
def test_few_terms_have_the_same_expectation(variance: Any) -> None:
    model = narrow(20)
    x = pixels(model, 1).expand(400, -1, -1, -1)
    whole = rated(model, x[:100], variance=variance).double()
    few = rated(model, x, num_terms=6, variance=variance).double()
    error = math.hypot(whole.std() / 10, few.std() / 20)
    assert abs(float(whole.mean() - few.mean())) < 3.5 * error
    assert not torch.equal(few[:100], whole)
