"""Samplers: what they must return from Gaussian data, and at what order they converge."""

import math
from typing import Any

import pytest
import torch

from models.core.contract.rows import concat
from models.core.diffusion.coefficients import Coefficients, times
from models.core.diffusion.schedule import Schedule
from tests.support.models.diffusion_oracle import gaussian_oracle, sampler_of, started

MEAN, STD = 0.1, 0.2
SOUND: list[dict[str, Any]] = [
    {"sampler": "ancestral"},
    {"sampler": "ancestral_posterior"},
    {"sampler": "ddim"},
    {"sampler": "ddim", "eta": 0.5, "spacing": "quadratic"},
    {"sampler": "dpm_solver_pp"},
]
"""Those that return the data's spread; "deterministic" does not."""
UNSOUND: dict[str, Any] = {"sampler": "deterministic"}


def plan(schedule: Schedule, **params: Any) -> Coefficients:
    """The numbers of all steps of one row, (num_steps,) each."""
    operation = sampler_of(gaussian_oracle(schedule=schedule), **params)
    num = operation.default_params.num_steps
    return operation.coefficients({**started(operation, num), "step": torch.arange(num)})


def moments(schedule: Schedule, mean: float, std: float, **params: Any) -> tuple[float, float]:
    """Mean and deviation of what comes out, in closed form: every step is linear in (z, x_0)."""
    state, covariance = torch.zeros(2).double(), torch.diag(torch.tensor([1.0, 0.0])).double()
    for _, a, b, c_z, c_x, c_previous, c_noise in zip(*plan(schedule, **params), strict=True):
        gain = a * std**2 / (a**2 * std**2 + b**2)  # x_0 = mean + gain (z - a mean)
        rest = mean * (1 - gain * a)
        forth = torch.tensor([[c_z + c_x * gain, c_previous], [gain, 0.0]]).double()
        state = forth @ state + torch.tensor([c_x * rest, rest]).double()
        covariance = forth @ covariance @ forth.T
        covariance[0, 0] += c_noise**2
    return float(state[0]), float(covariance[0, 0].sqrt())


@pytest.mark.parametrize("quadratic", [False, True])
@pytest.mark.parametrize(
    ("num_train_steps", "num_steps"), [(1000, 50), (1000, 7), (20, 20), (9, 5)]
)
def test_times_are_whole_and_go_from_noise_to_data(
    num_train_steps: int, num_steps: int, quadratic: bool
) -> None:
    left = torch.arange(num_steps, -1, -1)
    whole = torch.full_like(left, num_steps)
    t = times(num_train_steps, left, whole, torch.full_like(left, quadratic, dtype=torch.bool))
    assert torch.equal(t, t.round())
    assert (float(t[0]), float(t[-1])) == (num_train_steps, 0)
    assert bool((t[1:] < t[:-1]).all())
    ideal = num_train_steps * (left / num_steps) ** (2 if quadratic else 1)
    assert float((t - torch.maximum(ideal, left)).abs().max()) <= 0.5


@pytest.mark.parametrize("name", ["reference", "cosine"])
@pytest.mark.parametrize("std", [0.2, 0.6])
@pytest.mark.parametrize("params", SOUND, ids=str)
def test_gaussian_data_come_back(params: dict[str, Any], std: float, name: Any) -> None:
    mean, found = moments(Schedule(1000, name), MEAN, std, num_steps=1000, **params)
    assert mean == pytest.approx(MEAN, abs=1e-3)
    assert found == pytest.approx(std, abs=5e-3)
    if params["sampler"] == "dpm_solver_pp":
        mean, found = moments(Schedule(1000, name), MEAN, std, num_steps=25, **params)
        assert mean == pytest.approx(MEAN, abs=1e-3)
        assert found == pytest.approx(std, abs=0.01)


@torch.no_grad()
def test_samples_have_the_mean_and_deviation_of_gaussian_data() -> None:
    model = gaussian_oracle(MEAN, 0.1, (1, 32, 32))
    operations = [sampler_of(model, num_steps=1000, **params) for params in SOUND]
    rows = concat([started(operation, 4) for operation in operations])
    for _ in range(1000):
        rows = operations[0].step(rows)
    for z in rows["z"].split(4):
        assert float(z.mean()) == pytest.approx(MEAN, abs=0.01)
        assert float(z.std()) == pytest.approx(0.1, abs=0.01)


@torch.no_grad()
def test_samples_of_few_steps_have_the_moments_in_closed_form() -> None:
    model = gaussian_oracle(MEAN, STD, (1, 32, 32))
    every = [{**params, "num_steps": 12} for params in (*SOUND, UNSOUND)]
    operations = [sampler_of(model, **params) for params in every]
    rows = concat([started(operation, 16) for operation in operations])
    for _ in range(12):
        rows = operations[0].step(rows)
    for params, z in zip(every, rows["z"].split(16), strict=True):
        mean, std = moments(model.schedule, MEAN, STD, **params)
        error = std / math.sqrt(z.numel())
        assert float(z.mean()) == pytest.approx(mean, abs=4 * error)
        assert float(z.std()) == pytest.approx(std, abs=3 * error)


@pytest.mark.parametrize("num_steps", [1, 10, 1000])
def test_the_deterministic_mean_shrinks_to_next_to_nothing(num_steps: int) -> None:
    schedule, end = Schedule(1000), torch.tensor([1000.0])
    a, b = float(schedule.alpha_bar(end)), float(schedule.beta_bar(end))
    mean, std = moments(schedule, MEAN, 0.6, num_steps=num_steps, **UNSOUND)
    assert std == pytest.approx(a * 0.36 / (a**2 * 0.36 + b**2), rel=1e-9)
    assert std < 0.003
    assert mean == pytest.approx(MEAN, abs=1e-3)


def test_the_ancestral_mean_is_as_the_reference_writes_it() -> None:
    schedule = Schedule(1000)
    c = plan(schedule, num_steps=1000, **UNSOUND)
    alpha = schedule.alpha_bar(c.t) / schedule.alpha_bar(c.t - 1)
    beta = (1 - alpha.square()).sqrt()
    # (z - beta^2 / beta_bar eps) / alpha, with x_0 written out
    torch.testing.assert_close(c.c_z + c.c_x / c.alpha_bar, 1 / alpha, atol=1e-9, rtol=0)
    of_eps = c.c_x * c.beta_bar / c.alpha_bar
    torch.testing.assert_close(of_eps, beta.square() / (c.beta_bar * alpha), atol=1e-9, rtol=0)
    assert not bool(c.c_noise.any())
    noisy = plan(schedule, num_steps=1000, sampler="ancestral").c_noise
    torch.testing.assert_close(noisy[:-1], beta[:-1], atol=1e-9, rtol=0)
    assert float(noisy[-1]) == 0


@pytest.mark.parametrize("num_steps", [1000, 10])
def test_ddim_with_all_noise_is_the_posterior(num_steps: int) -> None:
    schedule = Schedule(1000, "cosine")
    ddim = plan(schedule, num_steps=num_steps, sampler="ddim", eta=1.0)
    posterior = plan(schedule, num_steps=num_steps, sampler="ancestral_posterior")
    for ours, theirs in zip(ddim, posterior, strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_ddim_is_of_first_order_and_dpm_solver_of_second() -> None:
    # So many whole times that rounding them plays no part.
    model = gaussian_oracle(MEAN, 0.4, (1, 1, 2), Schedule(20_000)).double()
    start, end = torch.full((4,), 20_000.0), torch.zeros(4)
    errors = []
    for num_steps in (50, 100, 200):
        both = [
            sampler_of(model, num_steps=num_steps, sampler=s) for s in ("ddim", "dpm_solver_pp")
        ]
        rows = concat([started(operation) for operation in both])
        exact = model.flow(rows["z"], start, end)
        for _ in range(num_steps):
            rows = both[0].step(rows)
        errors.append((rows["z"] - exact).abs().flatten(1).amax(1)[::2])
    order = torch.stack([(errors[i] / errors[i + 1]).log2() for i in (0, 1)])
    assert bool(((order[:, 0] > 0.9) & (order[:, 0] < 1.1)).all())
    assert bool(((order[:, 1] > 1.9) & (order[:, 1] < 2.3)).all())
