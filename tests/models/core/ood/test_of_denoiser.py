"""What denoisers say of images, against networks whose answers are known."""

import math

import pytest
import torch
from torch import Tensor

from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from models.core.diffusion.denoise import (
    ERROR_SIGMAS,
    LARGEST_SIGMA,
    LEAST_SIGMA,
    NUM_NORMS,
    Denoise,
)
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.schedule import Schedule, ScheduleName
from models.core.ood.of_denoiser import DIFFUSION_SCORES
from tests.support.models.diffusion_oracle import MixtureOracle, gaussian_oracle, pair_oracle
from tests.support.models.tiny import events_of, random_model

MEAN, STD = 0.125, 0.25


def denoised(model: DiffusionModel, x: Tensor) -> Rows:
    """Both columns."""
    return run(Denoise(model), {"x": x}, NoParams())


def images(model: MixtureOracle, num: int, seed: int = 0) -> Tensor:
    """What the oracle is about. -> (num, C, H, W)."""
    return (model.sample_data(num, seed)[0] + 1) / 2


def sigmas() -> Tensor:
    """The levels that are promised."""
    exponents = torch.arange(NUM_NORMS) / (NUM_NORMS - 1)
    return LEAST_SIGMA * (LARGEST_SIGMA / LEAST_SIGMA) ** exponents.double()


def test_times_are_those_of_the_levels() -> None:
    schedule = Schedule(1000)
    operation = Denoise(gaussian_oracle(schedule=schedule))
    t = operation.times
    ratio = schedule.beta_bar(t) / schedule.alpha_bar(t)
    expected = sigmas()
    torch.testing.assert_close(ratio, torch.cat([expected, expected[ERROR_SIGMAS]]))


@pytest.mark.parametrize("name", ["reference", "cosine"])
@pytest.mark.parametrize("num_train_steps", [1, 20, 1000])
def test_time_of_is_the_inverse_of_the_schedule(name: ScheduleName, num_train_steps: int) -> None:
    schedule = Schedule(num_train_steps, name)
    t = torch.linspace(0, num_train_steps, 57, dtype=torch.float64)
    ratio = schedule.beta_bar(t) / schedule.alpha_bar(t)
    torch.testing.assert_close(schedule.time_of(ratio), t, atol=1e-9, rtol=1e-9)
    with pytest.raises(ValueError, match=r"sigma .*: accepted are 0 to"):
        schedule.time_of(1.01 * ratio[-1:])


@pytest.mark.parametrize("num_train_steps", [1, 2, 20])
def test_no_time_is_earlier_than_those_that_were_trained(num_train_steps: int) -> None:
    t = Denoise(gaussian_oracle(schedule=Schedule(num_train_steps))).times
    assert float(t.min()) == pytest.approx(1)
    assert bool(t.isfinite().all())


def test_norms_are_those_of_a_gaussians_score() -> None:
    model = gaussian_oracle(MEAN, STD).double()
    x = images(model, 5)
    found = denoised(model, x)["noise_norms"]
    # With z = alpha_bar z_0 the expected noise is beta_bar alpha_bar (z_0 - mean) / variance of z.
    sigma = sigmas()
    alpha_squared = 1 / (1 + sigma.square())
    variance = alpha_squared * (STD**2 + sigma.square())
    away = (2 * x - 1 - MEAN).flatten(1).norm(dim=1)
    expected = (alpha_squared * sigma / variance * away[:, None]).log()
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_errors_are_those_of_a_gaussians_expected_noise() -> None:
    model = gaussian_oracle(MEAN, STD).double()
    x, noise = images(model, 5), Denoise(model).noise.double()
    sigma = sigmas()[ERROR_SIGMAS].view(-1, 1, 1, 1)
    # sigma (z / alpha_bar - mean) / (std^2 + sigma^2), less the noise that was put in.
    shift = 2 * x[:, None] - 1 - MEAN + sigma * noise
    expected = (sigma * shift / (STD**2 + sigma.square()) - noise).square().flatten(2).sum(2).log()
    found = denoised(model, x)["noise_errors"]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_a_network_that_returns_the_noise_errs_nowhere() -> None:
    model = gaussian_oracle(MEAN, 0.0).double()
    clean = torch.full((2, *model.event_shape), (1 + MEAN) / 2, dtype=torch.float64)
    errors = denoised(model, clean)["noise_errors"]
    assert torch.equal(errors, torch.full((2, 4), 2 * math.log(1e-12)))
    assert bool((denoised(model, clean + 0.1)["noise_errors"] > 0).all())


def test_all_levels_are_one_call_without_labels() -> None:
    model = pair_oracle()
    calls: list[tuple[Tensor, ...]] = []

    def counted(*tensors: Tensor) -> tuple[Tensor, ...]:
        calls.append(tensors)
        return (model.eps(*tensors),)

    expected = denoised(model, images(model, 3))
    model.use("eps", counted)
    found = denoised(model, images(model, 3))
    assert [len(z) for z, _, _ in calls] == [3 * 12]
    assert bool((calls[0][2] == -1).all())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_noise_is_the_same_for_ever() -> None:
    model = random_model("ddpm")
    assert isinstance(model, DiffusionModel)
    first, again = Denoise(model).noise, Denoise(model).noise
    assert torch.equal(first, again)
    assert 0.5 < float(first.std()) < 1.5
    x = events_of(model, 1)
    seeds = [{"x": x, "seed": torch.tensor([seed])} for seed in (0, 1)]
    one, other = (run(Denoise(model), inputs, NoParams()) for inputs in seeds)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["score_norms", "recon", "denoising"])
@pytest.mark.parametrize("stranger", ["black", "noise", "twice the contrast"])
def test_what_is_not_of_the_data_is_stranger(name: str, stranger: str) -> None:
    model = gaussian_oracle(MEAN, STD, (1, 8, 8))
    score = DIFFUSION_SCORES[name]
    reference = score.fitted(denoised(model, images(model, 100)))
    own = images(model, 50, seed=1)
    strange = {
        "black": torch.zeros(50, 1, 8, 8),
        "noise": torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 0.5,
        "twice the contrast": 2 * own - 0.55,
    }[stranger]
    scores = [score.compute(denoised(model, x), reference) for x in (own, strange)]
    auroc = (scores[1][:, None] > scores[0]).float().mean()
    assert float(auroc) > 0.95
