"""RealNVP: whole flows against autograd, densities against quadrature, its scales, its graphs."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.flow.programs import FlowSample, FlowSampleParams
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import ChannelHalves, Checkerboard, MaskedCheckerboard
from models.realnvp import Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild

CONFIGS: dict[str, dict[str, Any]] = {
    "image": {},
    "three-scales": {"event_shape": (1, 8, 8), "num_scales": 3, "num_couplings": 1},
    "odd-at-last": {"event_shape": (2, 6, 2), "num_couplings": 2},
    "one-scale": {"event_shape": (1, 3, 5), "num_scales": 1},
    "vector": {"event_shape": (5,), "num_levels": 0, "num_couplings": 4},
    "counts": {"event_shape": (4,), "num_levels": 6},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def made(spread: float = 0.1, **config: Any) -> Model:
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
    assert_invertible(model.flow, y, atol=1e-6)
    assert model.flow(y)[0].shape == (2, model.num_dims)


def test_a_density_of_the_plane_integrates_to_one_and_has_the_mean_of_its_samples() -> None:
    model = made(0.15, event_shape=(2,), num_levels=0, num_couplings=4, channels=8)
    ticks = torch.linspace(-30, 30, 1200).double()
    x = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        mass = torch.cat([model.log_prob(rows).exp() for rows in x.split(100_000)])
    mass = mass * (ticks[1] - ticks[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    mean = (mass[:, None] * x).sum(0)
    second = (mass[:, None] * x).T @ x
    seed = row_seeds(0, 20_000)
    sample = FlowSample(model.float())
    with torch.no_grad():
        drawn = run(sample, {"seed": seed}, FlowSampleParams())["x"].double()
    spread = (second - torch.outer(mean, mean)).diagonal().sqrt()
    assert bool(((drawn.mean(0) - mean).abs() < 4 * spread / 20_000**0.5).all())
    torch.testing.assert_close(drawn.T @ drawn / 20_000, second, atol=0.1, rtol=0.05)


def parts_of(model: Model) -> list[str]:
    """Kinds of the couplings from x to z."""
    names = {Checkerboard: "c", MaskedCheckerboard: "m", ChannelHalves: "h"}
    found = [part for part in model.modules() if isinstance(part, AffineCoupling)]
    return [names[type(part.halves)] for part in found]


def test_scales_are_those_of_the_paper() -> None:
    model = Model(Config(event_shape=(1, 28, 28), num_levels=256, num_scales=3))
    assert "".join(parts_of(model)) == "ccchhh" + "ccchhh" + "mmmm"
    x = draws(2, (1, 28, 28)).float().sigmoid()
    z = model.encode(x, torch.zeros_like(x))
    assert z.shape == (2, 784)
    assert model.decode(z).shape == x.shape


def test_every_half_is_changed_given_the_other_at_each_scale() -> None:
    model = Model(Config(event_shape=(1, 8, 8), num_scales=2, num_couplings=3))
    found = [part for part in model.modules() if isinstance(part, AffineCoupling)]
    kinds = [(type(part.halves), part.halves.split(_marked(part.halves))[0]) for part in found]
    for (kind, kept), (next_kind, next_kept) in pairwise(kinds):
        if kind is next_kind and kept.shape == next_kept.shape:
            assert not torch.equal(kept, next_kept)


def _marked(halves: Any) -> Tensor:
    """An event whose entries are all different."""
    if isinstance(halves, Checkerboard):
        num_channels, height, width = halves.kept_shape
        shape = (num_channels // 2, 2 * height, 2 * width)
    else:
        shape = (sum(halves.sizes), *halves.kept_shape[1:])
    return torch.arange(torch.Size(shape).numel()).view(1, *shape) + 1.0


def test_at_28x28_it_inverts_in_float32() -> None:
    model = made(0.02, event_shape=(1, 28, 28), num_levels=256, num_scales=3, channels=16).float()
    x = draws(4, (1, 28, 28)).float().sigmoid()
    with seeded():
        model.initialise(x)
    with torch.no_grad():
        y = 0.01 + 0.98 * x
        z, log_abs_det = model.flow(y)
        back, inverse = model.flow.inverse(z)
    torch.testing.assert_close(back, y, atol=1e-4, rtol=0)
    torch.testing.assert_close(inverse, -log_abs_det, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("config", "accepted"),
    [
        ({"event_shape": (1, 28, 28), "num_scales": 4}, "even sides"),
        ({"num_scales": 0}, "1 and more"),
        ({"event_shape": (1,), "num_levels": 0}, "2 and more"),
        ({"num_couplings": 0}, "1 and more"),
    ],
)
def test_what_does_not_fit_is_refused(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        Model(Config(**config))
