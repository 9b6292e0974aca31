"""Reverse KL: what it minimises, that it recovers a Gaussian, and whose energies it takes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.distributions.normal import standard_normal_log_prob
from models.core.distributions.targets import GAUSSIAN_FACTOR, GAUSSIAN_MEAN, TARGETS
from models.sylvester import Config, Model
from tests.support.models.invertible import draws, seeded, wild
from tests.support.models.tiny import pair_model, quadrature_log_z, random_model
from training.data.splits import Split
from training.fit.objective import MeanLoss
from training.fit.reverse_kl import ReverseKL, drawn, log_target

LOG_Z = math.log(GAUSSIAN_FACTOR[0][0] * GAUSSIAN_FACTOR[1][1])
"""Of the Gaussian target, exactly."""
NOTHING: Any = None
"""The data, which the objective must not ask for."""


def made(**config: Any) -> Model:
    """Untrained."""
    with seeded(1):
        return Model(Config(**config))


def trained(model: Model, objective: ReverseKL) -> Model:
    """By the objective alone, without the loop around it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    with seeded():
        for step in range(objective.num_steps):
            optimizer.param_groups[0]["lr"] = objective.learning_rate(step)
            optimizer.zero_grad()
            objective.losses(step)["loss"].backward()
            optimizer.step()
    return model.requires_grad_(False)


@pytest.mark.parametrize("kind", ["planar", "sylvester"])
def test_the_density_of_what_is_drawn_is_its_log_likelihood(kind: Any) -> None:
    model = made(kind=kind)
    wild(model, 0.4)
    x, log_q = drawn(model, draws(30, (2,)))
    torch.testing.assert_close(log_q, model.log_prob(x), atol=1e-8, rtol=0)


def test_reverse_kl_recovers_a_gaussian() -> None:
    """Mean, covariance and a KL near 0, with the constant that the target keeps to itself."""
    model = made(num_blocks=4)
    objective = ReverseKL(
        model, NOTHING, 0, target="gaussian", num_updates=400, batch_size=128, rate=2e-2
    )
    start, log_q = drawn(model, torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)))
    first = float((log_q - TARGETS["gaussian"].log_prob(start)).detach().mean())
    trained(model, objective)
    num = 40_000
    z = torch.randn(num, 2, generator=torch.Generator().manual_seed(1))
    x, log_q = drawn(model, z)
    kl = float((log_q - TARGETS["gaussian"].log_prob(x)).mean()) + LOG_Z
    assert first + LOG_Z > 1
    assert 0 < kl < 0.01
    mean, factor = torch.tensor(GAUSSIAN_MEAN), torch.tensor(GAUSSIAN_FACTOR)
    covariance = factor @ factor.T
    spread = covariance.diagonal().sqrt()
    assert float(((x.mean(0) - mean) / spread).abs().max()) < 0.05
    relative = (x.T.cov() - covariance) / (spread[:, None] * spread)
    assert float(relative.abs().max()) < 0.05


def test_the_loss_is_the_divergence_up_to_the_constant() -> None:
    """KL of a known Gaussian against another: the flow is but its two actnorms."""
    model = made(kind="planar", num_blocks=1).requires_grad_(False)
    block = model.flow.get_submodule("parts.1.parts.2.inner")
    for parameter in block.parameters():
        parameter.zero_()
    objective = ReverseKL(model, NOTHING, 0, target="gaussian", batch_size=100_000)
    found = float(objective.losses(0)["loss"]) + LOG_Z
    mean, factor = torch.tensor(GAUSSIAN_MEAN), torch.tensor(GAUSSIAN_FACTOR)
    target = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    unit = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    expected = float(torch.distributions.kl_divergence(unit, target))
    # Over draws of the unit normal log q - log p is a quadratic form, of this spread.
    inverse = (factor @ factor.T).inverse()
    curve = inverse - torch.eye(2)
    variance = float((curve @ curve).trace()) / 2 + float((inverse @ mean).square().sum())
    assert found == pytest.approx(expected, abs=4 * math.sqrt(variance / 100_000))


def test_two_losses_fit_one_flow() -> None:
    """The recipe chooses; forward looks at the data and at the model's own loss, reverse at no
    data."""
    x = TARGETS["gaussian"].draw(200).numpy()
    train = Split(x, torch.zeros(200, dtype=torch.int64).numpy())
    model = made()
    forward = MeanLoss(model, train, 0, batch_size=200)
    reverse = ReverseKL(model, NOTHING, 0, target="gaussian")
    assert MeanLoss.sees_data
    assert not ReverseKL.sees_data
    expected = -model.log_prob(torch.from_numpy(x)).mean()
    torch.testing.assert_close(forward.losses(0)["loss"], expected)
    for objective in (forward, reverse):
        model.zero_grad()
        objective.losses(3)["loss"].backward()
        gradients = [parameter.grad for parameter in model.parameters()]
        assert all(g is not None and bool(g.isfinite().all()) for g in gradients)


def test_a_step_draws_the_same_noise_whenever_it_is_taken() -> None:
    model = made().requires_grad_(False)
    objective = ReverseKL(model, NOTHING, 5, target="potential-3")
    once = objective.losses(7)["loss"]
    torch.randn(3)
    assert torch.equal(objective.losses(7)["loss"], once)
    assert not torch.equal(objective.losses(8)["loss"], once)
    assert not torch.equal(ReverseKL(model, NOTHING, 6).losses(7)["loss"], once)


def test_annealing_flattens_the_target_at_first() -> None:
    model = made().requires_grad_(False)
    objective = ReverseKL(model, NOTHING, 0, target="potential-2", anneal_steps=100)
    assert [objective.power(step) for step in (0, 50, 99, 500)] == [0.01, 0.51, 1.0, 1.0]
    assert ReverseKL(model, NOTHING, 0).power(0) == 1
    losses = objective.losses(50)
    torch.manual_seed(50)
    x, log_q = drawn(model, torch.randn(256, 2))
    log_p = TARGETS["potential-2"].log_prob(x)
    torch.testing.assert_close(losses["loss"], (log_q - 0.51 * log_p).mean())
    torch.testing.assert_close(losses["reverse_kl_up_to_log_z"], (log_q - log_p).mean())


def test_the_rate_rises_and_falls() -> None:
    objective = ReverseKL(made(), NOTHING, 0, num_updates=200, rate=0.1, warmup_steps=10)
    rates = [objective.learning_rate(step) for step in (0, 9, 100, 199)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[1] > 0.09
    assert rates[1] > rates[2] > rates[3] > 0


def bundle_of(model: torch.nn.Module, family: str, folder: Path) -> Path:
    """On disk."""
    return save(
        Bundle(
            name="tiny",
            family=family,
            config=vars(model.config),
            weights=model.state_dict(),
            preprocessing=Preprocessing(1, 2),
        ),
        folder / "tiny",
    )


def test_an_energy_is_a_target(tmp_path: Path) -> None:
    """Of images of two pixels, whose log Z is known by quadrature; the KL is not below 0."""
    energies = pair_model(2.0)
    target = str(bundle_of(energies, "jem", tmp_path))
    x = torch.rand(5, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_target(target)(x), -energies.energy(x))
    model = made(event_shape=(1, 1, 2), num_levels=256, logit_margin=1e-4, num_blocks=2)
    objective = ReverseKL(
        model, NOTHING, 0, target=target, num_updates=300, batch_size=64, rate=1e-2
    )
    log_z = quadrature_log_z(energies)

    def divergence() -> float:
        with torch.no_grad():
            z = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
            y, log_q = drawn(model, z)
            return float((log_q - log_target(target)(y)).mean()) + log_z

    before = divergence()
    trained(model, objective)
    after = divergence()
    assert before > 0.15
    assert -0.01 < after < before / 3


def test_other_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"accepted are potential-1.*folders of bundles"):
        log_target("potential-5")
    other = bundle_of(random_model("realnvp"), "realnvp", tmp_path)
    with pytest.raises(ValueError, match="energy models"):
        log_target(str(other))
    with pytest.raises(ValueError, match=r"accepts \(2,\)"):
        ReverseKL(made(event_shape=(3,)), NOTHING, 0, target="potential-1")
    energy = str(bundle_of(pair_model(), "jem", tmp_path / "energy"))
    wide = made(event_shape=(1, 1, 2), num_levels=256)
    with pytest.raises(ValueError, match="logit_margin"):
        ReverseKL(wide, NOTHING, 0, target=energy)


def test_the_base_is_standard_normal() -> None:
    """log q of a flow that does nothing."""
    model = made(kind="planar", num_blocks=1).requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    z = draws(5, (2,)).float()
    x, log_q = drawn(model, z)
    torch.testing.assert_close(x, z)
    torch.testing.assert_close(log_q, standard_normal_log_prob(z))
