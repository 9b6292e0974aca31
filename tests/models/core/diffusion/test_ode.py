"""Likelihood by the probability-flow ODE against densities that are known exactly."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from models.core.contract.grid import Grid
from models.core.contract.noise import event_seeds, normal
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.diffusion.bound import decoder_log_prob
from models.core.diffusion.likelihood import DiffusionLogLikelihood, DiffusionLogLikelihoodParams
from models.core.diffusion.ode import NUM_STAGES, FlowOde, divergence
from tests.support.models.diffusion_oracle import MixtureOracle, gaussian_oracle, pair_oracle

GREY = Grid(256)
Params = DiffusionLogLikelihoodParams


def oracle(size: int = 2) -> MixtureOracle:
    """One Gaussian, whose flow is linear and without couplings between pixels."""
    return gaussian_oracle(0.1, 0.3, (1, size, size)).double()


def pixels(model: MixtureOracle, num: int, seed: int = 0) -> Tensor:
    """Events drawn from the model's data, on the grid, in float64."""
    z, _ = model.sample_data(num, seed)
    return GREY.values(GREY.levels((z + 1) / 2)).double()


def inputs_of(x: Tensor) -> Rows:
    """A request for events with a seed each."""
    return {"x": x, "seed": torch.arange(len(x))}


def last_state(model: MixtureOracle, x: Tensor, **params: Any) -> tuple[Rows, Rows]:
    """The state after the last step, whose log_prob is still float64, and the result."""
    operation = DiffusionLogLikelihood(model)
    asked = Params("ode", **params)
    rows = operation.init(inputs_of(x), asked)
    for _ in range(operation.num_steps(asked)):
        rows = operation.step(rows)
    return rows, operation.finish(rows)


def at_the_bottom(model: MixtureOracle, x: Tensor) -> tuple[Tensor, Tensor]:
    """z at t = 1 of the first pass, and log P(x given y) - log q(y given x)."""
    seed, size = event_seeds(torch.arange(len(x)), x), len(x)
    eps = normal(seed, torch.zeros_like(seed), model.event_shape).double()
    t, clean = torch.ones(size), 2 * x - 1
    alpha_bar, beta_bar = (
        float(f(t)[0]) for f in (model.schedule.alpha_bar, model.schedule.beta_bar)
    )
    z = alpha_bar * clean + beta_bar * eps
    seen = (z - beta_bar * model.eps(z, t, torch.full((size,), -1))) / alpha_bar
    std = torch.full((size,), beta_bar, dtype=torch.float64)
    decoded = decoder_log_prob(model.grid, x, seen.clamp(-1, 1), std)
    y = clean + beta_bar / alpha_bar * eps
    log_q = Normal(clean, beta_bar / alpha_bar).log_prob(y).flatten(1).sum(1)
    return z, decoded - log_q


def test_of_a_gaussian_the_error_falls_at_the_order_of_the_solver() -> None:
    model = oracle()
    x = pixels(model, 3)
    z, ends = at_the_bottom(model, x)
    one, last = torch.ones(3), torch.full((3,), 1000.0)
    top = model.flow(z, one, last)
    # One stretch for all pixels, which moving by 1 at the bottom shows.
    stretch = (model.flow(z + 1, one, last) - top).flatten(1).log().sum(1)
    log_density = Normal(0.0, 1.0).log_prob(top).flatten(1).sum(1) + stretch
    log_alpha_bar = float(model.schedule.log_alpha_bar(torch.tensor([1])))
    expected = log_density + model.num_dims * log_alpha_bar + ends
    errors = []
    for num_steps in (10, 20, 40):
        rows, result = last_state(model, x, num_steps=num_steps)
        errors.append(float((rows["mean"] - expected).abs().max()))
        # Without couplings between pixels a probe of signs finds the trace itself.
        assert float(result["standard_error"].max()) < 1e-6
    assert errors[2] < 1e-3
    for coarse, fine in itertools.pairwise(errors):
        assert 3.3 < math.log2(coarse / fine) < 5


def test_it_is_near_the_exact_likelihood_and_not_above_it_on_average() -> None:
    model = oracle(6)
    x = pixels(model, 40)
    law, clean = Normal(torch.tensor(0.1).double(), 0.3), 2 * x - 1
    upper = torch.where(GREY.levels(x) == 255, 1.0, law.cdf(clean + 1 / 255))
    lower = torch.where(GREY.levels(x) == 0, 0.0, law.cdf(clean - 1 / 255))
    exact = (upper - lower).log().flatten(1).sum(1)
    rows, _ = last_state(model, x, num_steps=12)
    gap = (exact - rows["mean"]) / model.num_dims
    assert 0 < float(gap.mean()) < 0.1, "nats a pixel, which the noise at t = 1 costs"


def basis(rows: Rows, num_probes: int) -> Tensor:
    """Probes whose mean is the exact trace, (4, B, 1, 2, 2)."""
    assert num_probes == 4
    eye = 2 * torch.eye(4, dtype=torch.float64).view(4, 1, 1, 2, 2)
    return eye.expand(4, len(rows["x"]), 1, 2, 2)


def mixture_log_prob(model: MixtureOracle, x: Tensor, rows: Rows) -> Tensor:
    """By the mixture's own densities at both ends of the flow, which the flow connects."""
    z, ends = at_the_bottom(model, x)
    one, last = torch.ones(len(x)), torch.full((len(x),), 1000.0)
    top = float(model.schedule.alpha_bar(last[:1])) * rows["y"]
    wrong_prior = Normal(0.0, 1.0).log_prob(top).flatten(1).sum(1) - model.log_density(top, last)
    log_alpha_bar = float(model.schedule.log_alpha_bar(one[:1]))
    return model.log_density(z, one) + wrong_prior + model.num_dims * log_alpha_bar + ends


def test_of_a_mixture_it_is_exact_with_the_exact_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    model = pair_oracle().double()
    x = pixels(model, 6)
    operation = DiffusionLogLikelihood(model)
    monkeypatch.setattr(operation.ode, "_probes", basis)
    asked = Params("ode", num_steps=60, num_probes=4)
    rows = operation.init(inputs_of(x), asked)
    for _ in range(operation.num_steps(asked)):
        rows = operation.step(rows)
    torch.testing.assert_close(rows["mean"], mixture_log_prob(model, x, rows), atol=0.01, rtol=0)


def test_random_probes_err_by_what_they_say() -> None:
    model = pair_oracle().double()
    # The two components meet in the middle, where the pixels depend on each other.
    x = GREY.values(torch.randint(90, 160, (40, 1, 2, 2), generator=torch.Generator())).double()
    rows, result = last_state(model, x, num_steps=30, num_probes=8)
    away = rows["mean"] - mixture_log_prob(model, x, rows)
    error = result["standard_error"].double()
    assert float(error.median()) > 0.005, "or there is nothing to test"
    score = away / error.clamp(min=1e-3)
    assert abs(float(score.mean())) < 4 / math.sqrt(40)
    assert 0.5 < float(score.square().mean()) < 1.8


def test_the_divergence_is_unbiased_and_exact_on_a_basis() -> None:
    model = pair_oracle().double()
    z = torch.tensor([[[[0.1, -0.2], [0.0, 0.1]]]]).double()
    t, label = torch.tensor([300.0]), torch.tensor([-1])
    jacobian: Any = torch.autograd.functional.jacobian(lambda v: model.eps(v, t, label), z)
    exact = float(jacobian.reshape(4, 4).trace())
    with torch.no_grad():
        eps, values = divergence(model, z, t, label, basis({"x": z}, 4))
        assert torch.equal(eps, model.eps(z, t, label))
        assert float(values.mean()) == pytest.approx(exact, rel=1e-12)
        rows = {"x": z, "seed": torch.zeros(1).long(), "step": torch.zeros(1).long()}
        probes = FlowOde(model)._probes(rows, 4000)
        assert bool((probes.abs() == 1).all())
        _, values = divergence(model, z, t, label, probes)
    error = float(values.std()) / math.sqrt(4000)
    assert error > 0
    assert abs(float(values.mean()) - exact) < 4 * error


def test_passes_and_stages_draw_fresh_noise() -> None:
    model = pair_oracle().double()
    operation = DiffusionLogLikelihood(model)
    asked = Params("ode", num_steps=2, num_samples=2)
    rows = operation.init(inputs_of(pixels(model, 3)), asked)
    probes, states = [], []
    for _ in range(operation.num_steps(asked)):
        probes.append(operation.ode._probes(rows, 2))
        rows = operation.step(rows)
        states.append(rows["y"])
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(probes))
    size = NUM_STAGES * asked.num_steps
    assert torch.equal(states[0], states[1]), "a step of the solver moves at its end"
    assert not torch.equal(states[0], states[size])
    result = operation.finish(rows)
    assert bool((result["standard_error"] > 0).all())


def test_the_two_numbers_share_a_table() -> None:
    """A bound and an ODE in one step, at different places, are what each is alone."""
    model = pair_oracle()
    operation = DiffusionLogLikelihood(model)
    x = pixels(model, 4).float()
    ways = (
        Params(num_steps=8),
        Params("ode", num_steps=2),
        Params("ode", num_steps=2, num_probes=5),
    )
    alone = [run(operation, inputs_of(x), params)["log_prob"] for params in ways]
    assert len({tuple(value.tolist()) for value in alone}) == 3
    parts = [operation.init(inputs_of(x), params) for params in ways]
    table = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for _ in range(8):
        table = operation.step(table)
    found = operation.finish(table)["log_prob"]
    torch.testing.assert_close(found, torch.cat(alone), atol=1e-4, rtol=1e-5)
