"""The linear flow: Gaussians exactly, marginals by mixtures, both between linear maps."""

from typing import Any, TypeGuard

import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor, nn

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.flow.programs import FlowSample, FlowSampleParams
from models.core.transforms.linear import PLU, QR, Linear
from models.core.transforms.mixture_cdf import MixtureCDF
from models.linear_flow import Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "qr": {"linear": "qr", "event_shape": (2, 1, 3)},
    "1x1": {"linear": "1x1", "event_shape": (1, 4, 6)},
    "linear": {"num_components": 0, "num_blocks": 1, "event_shape": (5,), "num_levels": 0},
    "vector": {"num_components": 2, "num_blocks": 3, "event_shape": (4,), "num_levels": 0},
}


def made(spread: float = 0.1, **config: Any) -> Model:
    """With random weights, in float64."""
    with seeded():
        model = Model(Config(**config))
    wild(model, spread)
    return model.eval()


@pytest.mark.parametrize("name", CONFIGS)
def test_log_abs_det_is_that_of_autograd(name: str) -> None:
    model = made(**CONFIGS[name])
    y = draws(2, model.event_shape)
    y = y.sigmoid() if model.grid else y
    bisected = CONFIGS[name].get("num_components") != 0
    assert_invertible(model.flow, y, atol=1e-6, bisected=bisected)
    assert model.flow(y)[0].shape == (2, model.num_dims)


MEAN = torch.tensor([1.0, -2, 0.5]).double()
ROOT = torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [-1, 0.3, 1.5]]).double()
"""The Cholesky factor of a covariance."""


@pytest.mark.parametrize("linear", ["plu", "qr"])
def test_with_exact_weights_it_is_the_gaussian(linear: Any) -> None:
    config = Config(event_shape=(3,), num_levels=0, num_components=0, num_blocks=1, linear=linear)
    model = Model(config).double().requires_grad_(False)
    (part,) = (part for part in model.modules() if isinstance(part, Linear))
    # Of three reflections the determinant is -1; latents may change their sign.
    weight = torch.linalg.inv(ROOT) * torch.tensor([[1.0], [1.0], [-1.0 if linear == "qr" else 1]])
    if isinstance(part, PLU):
        _set_plu(part, weight)
    elif isinstance(part, QR):
        _set_qr(part, weight)
    part.bias.copy_(-weight @ MEAN)
    torch.testing.assert_close(part.weight(), weight)
    x = draws(6, (3,)) * 2
    expected = torch.distributions.MultivariateNormal(MEAN, scale_tril=ROOT).log_prob(x)
    torch.testing.assert_close(model.log_prob(x), expected)
    num = 40_000
    sample = FlowSample(model.float())
    drawn = run(sample, {"seed": row_seeds(0, num)}, FlowSampleParams())["x"].double()
    covariance, variance = ROOT @ ROOT.T, (ROOT @ ROOT.T).diagonal()
    assert bool(((drawn.mean(0) - MEAN).abs() < 4 * (variance / num).sqrt()).all())
    error = ((torch.outer(variance, variance) + covariance.square()) / num).sqrt()
    assert bool(((drawn.T.cov() - covariance).abs() < 4 * error).all())


def _set_plu(part: PLU, lower: Tensor) -> None:
    """W to a lower triangle with positive diagonal."""
    part.rows.copy_(torch.arange(3))
    part.triangles.copy_((lower / lower.diagonal()).tril(-1))
    part.log_diagonal.copy_(lower.diagonal().log())


def _set_qr(part: QR, weight: Tensor) -> None:
    """W to any matrix whose determinant has the sign of as many reflections."""
    q, r = torch.linalg.qr(weight)
    q, r = q * r.diagonal().sign(), r * r.diagonal().sign()[:, None]
    part.upper.copy_(r.triu(1))
    part.log_diagonal.copy_(r.diagonal().log())
    for i in range(3):
        v = q[:, i] - torch.eye(3)[i]
        part.vectors[i] = v
        q = q - 2 * torch.outer(v, v @ q) / v.square().sum()


@pytest.mark.parametrize("num_components", [0, 3])
def test_a_density_of_the_plane_integrates_to_one(num_components: int) -> None:
    model = made(0.3, event_shape=(2,), num_levels=0, num_components=num_components)
    ticks = torch.linspace(-30, 30, 900).double()
    with torch.no_grad():
        x = torch.cartesian_prod(ticks, ticks)
        mass = torch.cat(
            [model.log_prob(rows).exp().sum(0, keepdim=True) for rows in x.split(90_000)]
        )
    assert float(mass.sum() * (ticks[1] - ticks[0]) ** 2) == pytest.approx(1, abs=1e-3)


def mixture(num_components: int, size: int = 3) -> MixtureCDF:
    """With random weights, in float64."""
    part = MixtureCDF((size,), num_components)
    wild(part, 0.7)
    return part


def test_one_component_only_shifts_and_scales() -> None:
    part, x = mixture(1), draws(4, (3,))
    z, log_abs_det = part(x)
    torch.testing.assert_close(z, (x - part.mean[:, 0]) / part.log_scale[:, 0].exp())
    torch.testing.assert_close(log_abs_det, -part.log_scale.sum().expand(4))


def test_its_sigmoid_is_the_distribution_function_of_the_mixture() -> None:
    part, x = mixture(4), 3 * draws(200, (3,))
    a = (x.unsqueeze(-1) - part.mean) / part.log_scale.exp()
    cdf = (part.logit.softmax(-1) * a.sigmoid()).sum(-1)
    torch.testing.assert_close(part(x)[0].sigmoid(), cdf)


def test_tails_stay_finite_and_invertible_in_float32() -> None:
    part = mixture(4).float()
    x = torch.tensor([-1e4, -300.0, -20, 20, 300, 1e4])[:, None].expand(6, 3)
    z, log_abs_det = part(x)
    assert bool(z.isfinite().all())
    assert bool(log_abs_det.isfinite().all())
    back, inverse = part.inverse(z)
    torch.testing.assert_close(back, x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inverse, -log_abs_det, rtol=1e-4, atol=1e-4)


def test_components_far_apart_are_inverted_too() -> None:
    part = MixtureCDF((1,), 2)
    with torch.no_grad():
        part.mean.copy_(torch.tensor([[-50.0, 50.0]]))
        part.log_scale.fill_(-3)
        z = torch.linspace(-30, 30, 31)[:, None]
        x, _ = part.inverse(z)
        # Between them the distribution function is flat: there any x does.
        far = z.abs() > 0.5
        torch.testing.assert_close(part(x)[0][far], z[far], rtol=1e-3, atol=1e-3)
    assert bool((x.diff(dim=0) >= 0).all())


def test_initialisation_makes_every_marginal_nearly_logistic() -> None:
    two_hills = draws(2000, (3,)) * 0.3 + torch.tensor([-2.0, 0, 5])
    two_hills[::3] += 4
    part = MixtureCDF((3,), 12).double()
    z = part.initialise(two_hills)
    for column in z.T:
        assert stats.kstest(column.numpy(), "logistic").statistic < 0.06
    # A ground of one grey level, dequantised, and strokes of any.
    picture = torch.cat([draws(1500, (3,)).erf().abs() / 256, draws(500, (3,)).erf().abs()])
    fine = MixtureCDF((3,), 12).double()
    for column in fine.initialise(picture).T:
        assert stats.kstest(column.numpy(), "logistic").statistic < 0.25
    constant = torch.ones(10, 3).double()
    assert bool(MixtureCDF((3,), 2).double().initialise(constant).isfinite().all())


def test_1x1_maps_the_channels_of_the_squeezed_image() -> None:
    (part, *_) = (p for p in made(linear="1x1", event_shape=(1, 4, 12)).modules() if _is_plu(p))
    assert part.size == 16
    assert part.num_positions == 3


def _is_plu(part: nn.Module) -> TypeGuard[PLU]:
    return isinstance(part, PLU)


def test_it_beats_the_histogram_of_independent_pixels() -> None:
    digits = torch.from_numpy(load_digits().images).long().unsqueeze(1)
    digits = digits[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
    train, test = digits[:1000], digits[1350:]
    counts = nn.functional.one_hot(train, 17).sum(0) + 1.0
    log_rate = (counts / counts.sum(-1, keepdim=True)).log()
    histogram = log_rate.expand(len(test), 1, 8, 8, 17).gather(-1, test.unsqueeze(-1)).sum() / 447
    assert float(histogram) == pytest.approx(-106.5, abs=1.5)
    with seeded():
        model = Model(Config(event_shape=(1, 8, 8), num_levels=17, num_components=8, num_blocks=1))
        model.initialise(train / 16)
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(250):
            optimiser.zero_grad()
            model.loss(train[torch.randint(1000, (64,))] / 16).mean().backward()
            optimiser.step()
        with torch.no_grad():
            bound = model.log_prob(test / 16, torch.randn(test.shape)).mean()
    assert float(bound) > float(histogram) + 2


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"num_blocks": 0}, "1 and more"),
        ({"num_components": -1}, "1 and more"),
        ({"linear": "svd"}, "'plu' and 'qr'"),
        ({"linear": "1x1", "event_shape": (4,)}, "images"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        Model(Config(**config))
