"""NICE: whole flows against autograd, a density against quadrature, its base against scipy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.flow.programs import FlowSample, FlowSampleParams
from models.nice import AdditiveCoupling, Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild

CONFIGS: dict[str, dict[str, Any]] = {
    "image": {},
    "odd-colour": {"event_shape": (3, 3, 3), "num_couplings": 3},
    "marginals": {"marginal_components": 2, "num_couplings": 1},
    "vector": {"event_shape": (5,), "num_levels": 0, "hidden": ()},
}


def made(spread: float = 0.3, **config: Any) -> Model:
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
    # Mixtures of logistics are inverted by bisection, which autograd cannot see.
    assert_invertible(model.flow, y, atol=1e-6, bisected=name == "marginals")


def test_couplings_keep_volume_and_one_half_and_start_as_the_identity() -> None:
    x = draws(3, (6,))
    with seeded():
        model = Model(Config(event_shape=(6,), num_levels=0)).double()
    couplings = [part for part in model.modules() if isinstance(part, AdditiveCoupling)]
    assert len(couplings) == 4
    for i, coupling in enumerate(couplings):
        torch.testing.assert_close(coupling(x), (x, torch.zeros(3).double()))
        wild(coupling, 0.5)
        z, log_abs_det = coupling(x)
        assert log_abs_det.tolist() == [0, 0, 0]
        same = (z == x).all(0)
        assert same.tolist() == [j % 2 == i % 2 for j in range(6)], "even and odd ones in turns"


def test_a_density_of_the_plane_integrates_to_one_and_is_that_of_its_samples() -> None:
    model = made(event_shape=(2,), num_levels=0)
    ticks = torch.linspace(-60, 60, 1600, dtype=torch.float64)
    x = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        log_prob = torch.cat([model.log_prob(rows) for rows in x.split(100_000)])
    mass = log_prob.exp().view(1600, 1600) * (ticks[1] - ticks[0]) ** 2
    assert float(mass.sum()) == pytest.approx(1, abs=1e-3)
    sample = FlowSample(model.float())
    with torch.no_grad():
        drawn = run(sample, {"seed": row_seeds(0, 5000)}, FlowSampleParams())["x"]
    for side in (0, 1):
        cdf, ends = mass.sum(1 - side).cumsum(0), ticks + (ticks[1] - ticks[0]) / 2
        rank = np.interp(drawn[:, side].numpy(), ends.numpy(), cdf.numpy())
        assert stats.kstest(rank, "uniform").pvalue > 0.01


def test_its_latent_is_logistic_and_passes_for_normal_noise() -> None:
    model = made(event_shape=(40,), num_levels=0).float()
    z = run(FlowSample(model), {"seed": row_seeds(1, 500)}, FlowSampleParams())["x"]
    latent = model.flow(z)[0].flatten()
    assert stats.kstest(latent.numpy(), "logistic").pvalue > 0.01
    assert stats.kstest(latent.numpy(), "norm").pvalue < 1e-9
    operations = model.operations()
    fit = run(operations["latent_fit"], {"x": z}, operations["latent_fit"].default_params)
    # log A^2 of noise has its median near log 0.77, log of its mean square near 0.
    log_a2, log_square = fit["latent_fit"][:, :2].median(0).values.tolist()
    assert log_a2 == pytest.approx(-0.26, abs=0.15)
    assert log_square == pytest.approx(-0.02, abs=0.05)


@pytest.mark.parametrize(
    ("config", "accepted"),
    [({"num_couplings": 0}, "1 and more"), ({"event_shape": (1,), "num_levels": 0}, "2 and more")],
)
def test_what_it_cannot_be_is_refused(config: dict[str, Any], accepted: str) -> None:
    with pytest.raises(ValueError, match=accepted):
        Model(Config(**config))
