"""The Langevin sampler: its stationary law, its starts, its noise-free end, its conditioning."""

import math
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from models.core.contract.grid import to_unit
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.energy.langevin import Langevin, LangevinParams
from models.core.energy.model import EnergyModel
from tests.support.models.tiny import Quadratic, events, random_energy_model


def init(model: EnergyModel, num: int, label: int | None = None, **settings: Any) -> Rows:
    """The table before the first step."""
    sampler = Langevin(model)
    inputs = {"seed": row_seeds(0, num)}
    if label is not None:
        inputs["label"] = torch.full((num,), label)
    if settings.get("start") == "data":
        inputs["x"] = events(num, model.event_shape)
    return sampler.init(inputs, sampler.params(**settings))


def steps(model: EnergyModel, rows: Rows, num: int) -> Rows:
    """The table `num` steps on."""
    for _ in range(num):
        rows = Langevin(model).step(rows)
    return rows


@pytest.mark.parametrize(("width", "step_size", "noise"), [(1.0, 0.3, 0.03), (0.5, 0.4, 0.02)])
def test_the_stationary_variance_is_that_of_the_discretised_chain(
    width: float, step_size: float, noise: float
) -> None:
    # x' - 1/2 = rate (x - 1/2) + noise: an AR(1) process in every pixel. The clamp is 10 sd away.
    rate = 1 - step_size / width**2
    expected = noise**2 / (1 - rate**2)
    assert 0.5 / math.sqrt(expected) > 10
    model = Quadratic(width)
    rows = init(model, 64, step_size=step_size, noise_scale=noise, num_steps=500)
    rows = steps(model, rows, 100)
    kept, following = [], []
    for _ in range(10):
        rows = steps(model, rows, 25)
        kept.append(rows["x"].double().flatten() - 0.5)
        rows = steps(model, rows, 1)
        following.append(rows["x"].double().flatten() - 0.5)
    x, x_next = torch.cat(kept), torch.cat(following)
    num = len(x)  # independent: |rate|^25 is below 1e-3
    assert abs(rate) ** 25 < 1e-3
    assert abs(float(x.mean())) < 3 * math.sqrt(expected / num)
    assert abs(float(x.square().mean()) - expected) < 3 * expected * math.sqrt(2 / num)
    covariance = expected * math.sqrt((1 + rate**2) / num)
    assert abs(float((x * x_next).mean()) - rate * expected) < 3 * covariance
    assert stats.kstest((x / math.sqrt(expected)).numpy()[::7], "norm").pvalue > 1e-3


def test_chains_stay_in_the_box() -> None:
    model = random_energy_model("ebm", scale=4.0)
    rows = steps(model, init(model, 8, step_size=5.0, noise_scale=0.5, num_steps=4), 4)
    assert 0 <= float(rows["x"].min()) <= float(rows["x"].max()) <= 1
    assert bool((rows["x"] == 0).any())
    assert bool((rows["x"] == 1).any())


def test_noise_start_is_uniform_on_the_box() -> None:
    x = init(random_energy_model(), 200, start="noise")["x"]
    assert x.shape == (200, 1, 8, 8)
    assert stats.kstest(x.flatten().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("label", [0, 2])
def test_gaussian_start_has_the_mean_and_covariance_of_the_label(label: int) -> None:
    model = random_energy_model(event_shape=(1, 2, 3))
    model.start_factor.mul_(0.5)
    model.start_std.mul_(0.3)
    model.start_mean.mul_(0.2).add_(0.4)
    num = 20_000
    x = init(model, num, label, start="gaussian")["x"].flatten(1).double()
    assert 0 < float(x.min()) <= float(x.max()) < 1, "the clamp would change the moments"
    factor, std = model.start_factor[label].double(), model.start_std[label].double()
    covariance = factor.T @ factor + std.square().diag()
    deviation = covariance.diag().sqrt()
    error = (x.mean(0) - model.start_mean[label]).abs() / (deviation / math.sqrt(num))
    assert float(error.max()) < 4
    spread = ((deviation[:, None] * deviation).square() + covariance.square()) / num
    assert float(((x.T.cov() - covariance).abs() / spread.sqrt()).max()) < 4


def test_gaussian_start_without_a_label_takes_every_class_as_often() -> None:
    model = random_energy_model()
    model.start_factor.zero_()
    model.start_std.zero_()
    model.start_mean.copy_(torch.tensor([0.2, 0.5, 0.8])[:, None].expand_as(model.start_mean))
    x = init(model, 3000, start="gaussian")["x"][:, 0, 0, 0]
    counts = [int((x - mean).abs().lt(1e-6).sum()) for mean in (0.2, 0.5, 0.8)]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 1e-3
    assert torch.equal(init(model, 9, -1, start="gaussian")["x"][:, 0, 0, 0], x[:9])


def picks(model: EnergyModel, label: int | None) -> Tensor:
    """Which kept chain each of many rows starts at; chains are told apart by their level."""
    model.chains.copy_(torch.arange(len(model.chains))[:, None, None, None].expand_as(model.chains))
    x = init(model, 2000, label, start="persistent")["x"]
    index = (x[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(x, to_unit(model.chains[index]))
    return index


@pytest.mark.parametrize("label", [-1, 0, 2, None])
def test_persistent_start_takes_every_chain_of_the_label_as_often_and_no_other(
    label: int | None,
) -> None:
    model = random_energy_model(num_chains=20)
    model.chain_label.copy_(torch.arange(20) * 7 % 4 - 1)  # not in order, -1 among them
    own = torch.arange(20) if label in (None, -1) else (model.chain_label == label).nonzero()[:, 0]
    counts = picks(model, label).bincount(minlength=20)
    assert set(counts.nonzero()[:, 0].tolist()) == set(own.tolist())
    assert stats.chisquare(counts[own]).pvalue > 1e-3


def test_a_label_without_chains_starts_at_any() -> None:
    model = random_energy_model()
    model.chain_label.copy_(torch.tensor([-1, 0, 2, 0, 2, 0, 2, 0]))
    assert set(picks(model, 1).tolist()) == set(range(8))


def test_data_start_is_the_images_of_the_request() -> None:
    model = random_energy_model()
    assert torch.equal(init(model, 5, start="data")["x"], events(5, model.event_shape))


def descended(model: EnergyModel, x: Tensor, label: int, step_size: float, num: int) -> Tensor:
    """Gradient descent without noise, from the logits themselves."""
    for _ in range(num):
        x = x.detach().requires_grad_()
        logits = model.net(x)
        energy = -logits.logsumexp(1) if label < 0 else -logits[:, label]
        (grad,) = torch.autograd.grad(energy.sum(), x)
        x = (x - step_size * grad).clamp(0, 1).detach()
    return x


@pytest.mark.parametrize("label", [-1, 0, 1, 2])
def test_the_label_conditions_the_energy(label: int) -> None:
    model = random_energy_model()
    rows = init(model, 4, label, start="data", noise_scale=0.0, step_size=0.3, num_steps=3)
    expected = descended(model, rows["x"], label, 0.3, 3)
    torch.testing.assert_close(steps(model, rows, 3)["x"], expected, atol=1e-5, rtol=0)
    others = [descended(model, rows["x"], other, 0.3, 3) for other in {-1, 0, 1, 2} - {label}]
    assert min(float((expected - other).abs().max()) for other in others) > 1e-3


@pytest.mark.parametrize(("num_steps", "polish"), [(6, 2), (3, 3), (2, 5)])
def test_the_last_steps_run_without_noise(num_steps: int, polish: int) -> None:
    model = random_energy_model()
    settings = {"num_steps": num_steps, "polish_steps": polish, "noise_scale": 0.1}
    rows = init(model, 4, 1, start="data", **settings)
    for i in range(num_steps):
        quiet = descended(model, rows["x"], 1, model.config.step_size, 1)
        rows = Langevin(model).step(rows)
        change = float((rows["x"] - quiet).abs().mean())
        assert change < 1e-6 if i >= num_steps - polish else change > 0.03


def test_each_step_has_noise_of_its_own() -> None:
    model = Quadratic()
    rows = init(model, 1, start="data", step_size=1.0, noise_scale=0.02, num_steps=2)
    # step_size = width^2 forgets x: what remains is 1/2 plus the noise of the last step.
    first = Langevin(model).step(rows)
    second = Langevin(model).step(first)
    overlap = torch.corrcoef(torch.stack([first["x"].flatten(), second["x"].flatten()]))[0, 1]
    assert abs(float(overlap)) < 4 / math.sqrt(64)


def test_params_are_those_of_training_unless_named() -> None:
    model = random_energy_model(step_size=0.7, noise_scale=0.03, num_steps=11, polish_steps=2)
    sampler = Langevin(model)
    assert sampler.default_params == LangevinParams(
        num_steps=11, step_size=0.7, noise_scale=0.03, polish_steps=2
    )
    changed = sampler.params(step_size=0.1, start="noise")
    assert (changed.step_size, changed.noise_scale, changed.start) == (0.1, 0.03, "noise")
    assert {p.start for p in sampler.examples} == {"noise", "gaussian", "persistent", "data"}


def test_what_cannot_start_is_refused() -> None:
    sampler = Langevin(random_energy_model(num_chains=0))
    with pytest.raises(ValueError, match="needs images"):
        sampler.check({"seed"}, sampler.params(start="data"))
    with pytest.raises(ValueError, match='start "data" only'):
        sampler.check({"seed", "x"}, sampler.params(start="noise"))
    with pytest.raises(ValueError, match="no persistent chains"):
        sampler.check({"seed"}, sampler.params(start="persistent"))
    with torch.no_grad():
        x = run(sampler, {"seed": row_seeds(0, 2)}, sampler.default_params)["x"]
    assert x.shape == (2, 1, 8, 8)
