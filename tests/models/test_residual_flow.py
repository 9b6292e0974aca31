"""Residual flows against autograd, quadrature and a Gaussian; their likelihoods as programs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import half_rounded
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.nn.lipschitz import Spectral, SpectralLinear
from models.core.transforms.residual import remainder
from models.residual_flow import Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild
from tests.support.models.tiny import events_of

CONFIGS: dict[str, dict[str, Any]] = {
    "image": {},
    "squeezed-at-once": {"event_shape": (2, 4, 4), "blocks_at": (0, 2), "dense": False},
    "scale-without-blocks": {"blocks_at": (1, 0, 1), "activation": "lipswish"},
    "fully-connected": {"fully_connected": True, "blocks_at": (2,), "logit_margin": 0.0},
    "vector": {"event_shape": (5,), "num_levels": 0, "blocks_at": (2, 1)},
    "counts": {"event_shape": (4,), "num_levels": 6},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def made(spread: float = 0.3, **config: Any) -> Model:
    """With random weights, in float64."""
    with seeded():
        model = Model(Config(**config))
    wild(model, spread)
    return model.eval()


@every_config
def test_log_abs_det_is_that_of_autograd(name: str) -> None:
    model = made(**CONFIGS[name])
    y = draws(2, model.event_shape)
    y = y.sigmoid() if model.grid else y
    assert_invertible(model.flow, y, bisected=True)
    eps = torch.zeros_like(y)
    torch.testing.assert_close(model.encode(y, eps), model.flow(model.dequantise(y, eps)[0])[0])
    z = draws(2, (model.num_dims,))
    torch.testing.assert_close(model.decode(z), model.flow.inverse(z)[0])


@every_config
def test_blocks_are_as_many_as_asked_for(name: str) -> None:
    model = made(**CONFIGS[name])
    assert len(model.blocks) == sum(model.config.blocks_at)
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for p in model.flow.parameters()
    )


def test_a_density_of_the_plane_integrates_to_one_and_has_the_moments_of_its_samples() -> None:
    model = made(0.3, event_shape=(2,), num_levels=0, blocks_at=(3,), channels=8)
    ticks = torch.linspace(-25, 25, 400).double()
    x = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        mass = torch.cat([model.log_prob(rows).exp() for rows in x.split(40_000)])
    mass = mass * (ticks[1] - ticks[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    mean = (mass[:, None] * x).sum(0)
    second = (mass[:, None] * x).T @ x
    model.float()
    sample = model.operations()["sample"]
    with torch.no_grad():
        drawn = run(sample, {"seed": row_seeds(0, 10_000)}, sample.default_params)["x"].double()
    spread = (second - torch.outer(mean, mean)).diagonal().sqrt()
    assert bool(((drawn.mean(0) - mean).abs() < 4 * spread / 10_000**0.5).all())
    torch.testing.assert_close(drawn.T @ drawn / 10_000, second, atol=0.1, rtol=0.05)


def linear_model() -> tuple[Model, Tensor, Tensor]:
    """A flow whose networks are linear, and the mean and covariance of its Gaussian."""
    model = made(event_shape=(3,), num_levels=0, blocks_at=(2,))
    for i, block in enumerate(model.blocks):
        with seeded(i):
            net: Any = SpectralLinear(3, 3, 0.9)
        wild(net, 3.0, seed=i)
        block.net = net.eval()
    with torch.no_grad():
        mean = model.decode(torch.zeros(1, 3).double())
        factor = model.decode(torch.eye(3).double()) - mean
    return model, mean[0], factor.T @ factor


def test_linear_networks_make_the_gaussian_that_they_should() -> None:
    model, mean, covariance = linear_model()
    x = mean + draws(20, (3,))
    expected = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x)
    with torch.no_grad():
        torch.testing.assert_close(model.log_prob(x), expected, atol=1e-8, rtol=0)
    sample = model.operations()["sample"]
    model.float()
    with torch.no_grad():
        drawn = run(sample, {"seed": row_seeds(1, 8000)}, sample.default_params)["x"].double()
    spread = covariance.diagonal().sqrt()
    assert bool(((drawn.mean(0) - mean).abs() < 4 * spread / 8000**0.5).all())
    scaled = (drawn - mean) @ torch.linalg.cholesky(covariance.inverse())
    torch.testing.assert_close(scaled.T @ scaled / 8000, torch.eye(3).double(), atol=0.07, rtol=0)


def asked(model: Model, x: Tensor, **params: Any) -> Rows:
    """What the served likelihood says, by its program."""
    operation = model.operations()["log_likelihood"]
    seed = torch.zeros(len(x), dtype=torch.int64)
    with torch.no_grad():
        return run(operation, {"seed": seed, "x": x}, operation.Params(**params))


def test_the_program_of_the_likelihood_gives_what_the_flow_gives() -> None:
    model = made(event_shape=(5,), num_levels=0, blocks_at=(3,)).float()
    x = events_of(model, 6)
    with torch.no_grad():
        torch.testing.assert_close(asked(model, x)["log_prob"], model.log_prob(x))


def test_an_estimate_is_as_good_as_its_standard_error_says() -> None:
    model = made(event_shape=(5,), num_levels=0, blocks_at=(3,)).float()
    x = torch.cat([events_of(model, 400, seed=i) for i in range(2)])
    true = asked(model, x)["log_prob"].double()
    found = asked(model, x, log_det="truncated", num_terms=40, num_probes=16)
    error = found["log_prob"].double() - true
    assert float(error.abs().mean()) > 0.01
    assert abs(float(error.mean())) < 4 * float(error.std()) / len(x) ** 0.5
    ratio = error / found["standard_error"].double()
    # Of probes of five signs the errors are no Gaussian, but their size is known on average.
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.6
    finer = asked(model, x, log_det="truncated", num_terms=40, num_probes=64)
    assert float(finer["standard_error"].mean()) < 0.6 * float(found["standard_error"].mean())


def test_probes_of_blocks_are_independent() -> None:
    """Of four blocks that are alike, errors would add up instead of averaging out."""
    model = made(event_shape=(5,), num_levels=0, blocks_at=(4,)).float()
    with seeded():
        net: Any = SpectralLinear(5, 5, 0.8)
    for block in model.blocks:
        block.net = net.eval().requires_grad_(False)
    x = events_of(model, 500)
    found = asked(model, x, log_det="truncated", num_terms=60)
    error = (found["log_prob"] - asked(model, x)["log_prob"]).double()
    ratio = error / found["standard_error"].double()
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.5


def test_a_short_series_is_off_by_no_more_than_its_bound() -> None:
    model = made(event_shape=(5,), num_levels=0, blocks_at=(3,), lipschitz=0.5).float()
    x = events_of(model, 200)
    true, noise = asked(model, x)["log_prob"], {"log_det": "truncated", "num_probes": 64}
    errors = []
    for num_terms in (1, 2, 4):
        found = asked(model, x, num_terms=num_terms, **noise)["log_prob"]
        errors.append(abs(float((found - true).mean())))
        assert errors[-1] <= model.truncation_bound(num_terms)
    assert errors[0] > 3 * errors[2]
    assert model.truncation_bound(3) == pytest.approx(3 * remainder(0.5, 5, 3))
    assert model.truncation_bound(40) < 1e-9 < model.truncation_bound(4) < 0.5


def test_several_noises_tighten_the_bound_and_one_says_nothing_of_its_error() -> None:
    model = made(event_shape=(1, 2, 2), num_levels=3, blocks_at=(2,)).float()
    x = events_of(model, 200)
    one, many = asked(model, x), asked(model, x, num_samples=20)
    assert bool(one["standard_error"].isnan().all())
    assert float(many["log_prob"].mean()) > float(one["log_prob"].mean())
    total = torch.cartesian_prod(*[torch.arange(3)] * 4).view(-1, 1, 2, 2)
    assert model.grid is not None
    log_prob = asked(model, model.grid.values(total), num_samples=100)["log_prob"]
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=0.05)


def test_what_the_number_is_depends_on_how_it_is_found() -> None:
    image, vector = made(), made(**CONFIGS["vector"])
    large = Model(Config(event_shape=(1, 28, 28), num_levels=256, blocks_at=(0, 1)))
    kinds = []
    for model in (image, vector, large):
        operation = model.operations()["log_likelihood"]
        assert operation.kind(operation.default_params) is model.likelihood
        kinds.append((model.likelihood, operation.kind(operation.Params(log_det="truncated"))))
    assert [first for first, _ in kinds] == [
        Likelihood.BOUND,
        Likelihood.EXACT,
        Likelihood.ESTIMATE,
    ]
    assert {second for _, second in kinds} == {Likelihood.ESTIMATE}
    operation = large.operations()["log_likelihood"]
    with pytest.raises(ValueError, match="accepted is truncated"):
        operation.check({"x"}, operation.Params(log_det="exact"))
    operation.check({"x"}, operation.default_params)
    x = events_of(large, 2)
    found = asked(large.eval(), x, log_det="truncated", num_terms=2, num_probes=2)
    assert bool(found["standard_error"].isfinite().all())


def test_training_projects_and_its_loss_is_right_on_average() -> None:
    model = made(event_shape=(3,), num_levels=0, lipschitz=0.6).train()
    layers = [layer for layer in model.modules() if isinstance(layer, Spectral)]
    for layer in layers:
        layer.weight.mul_(20)
    x = events_of(model, 50).double()
    with seeded():
        losses = torch.stack([model.loss(x).detach() for _ in range(300)])
    assert all(float(layer.bound()) < 1.001 * layer.cap for layer in layers)
    error = losses.mean(1).std() / 300**0.5
    expected = -model.eval().log_prob(x)
    assert abs(float(losses.mean() - expected.mean())) < 4 * float(error)
    torch.testing.assert_close(model.loss(x), expected)


def test_rounding_to_half_precision_keeps_every_block_below_its_cap() -> None:
    config = {"event_shape": (1, 8, 8), "blocks_at": (1, 2), "channels": 16, "lipschitz": 0.97}
    model = made(3.0, **config).float()
    half_rounded(model)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    for block in model.blocks:
        assert 0.8 < float(block.net.bound()) <= 0.97
    model.train().eval()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"blocks_at": ()}, "above 0"),
        ({"blocks_at": (0, 0)}, "above 0"),
        ({"blocks_at": (2, -1)}, "above 0"),
        ({"blocks_at": (1, 1), "fully_connected": True}, "one entry"),
        ({"event_shape": (1, 6, 6), "blocks_at": (1, 1, 1)}, "even sides"),
        ({"lipschitz": 1.0}, "between 0 and 1"),
        ({"exact_terms": 0}, "1 and more"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        Model(Config(**config))
