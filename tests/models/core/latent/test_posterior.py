"""Posteriors against autograd and torch's own distributions: densities, KL and their ends."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from models.core.distributions.normal import standard_normal_log_prob
from models.core.latent.posterior import MOST_LOG_STD, Posterior, normal_kl
from models.core.latent.posterior_flows import (
    IAFPosterior,
    PlanarPosterior,
    PosteriorFlow,
    SylvesterPosterior,
)
from models.vae import Config, Model
from tests.support.models.invertible import draws, log_abs_det, seeded, wild

SIZE = 3


def flows() -> list[PosteriorFlow]:
    """One of each kind, in float64 and with random weights."""
    with seeded():
        made: list[PosteriorFlow] = [
            PlanarPosterior(SIZE, 2),
            SylvesterPosterior(SIZE, 2, 2, 2),
            IAFPosterior(SIZE, (8, 8), 5, 2),
        ]
    for flow in made:
        wild(flow)
    return made


every_flow = pytest.mark.parametrize("flow", flows(), ids=lambda flow: type(flow).__name__)


@every_flow
def test_log_q_is_the_density_of_what_is_drawn(flow: PosteriorFlow) -> None:
    posterior = Posterior(SIZE, flow)
    statistics, eps = draws(4, (posterior.num_statistics,)), draws(4, (SIZE,), 1)
    z, log_q = posterior.draw(statistics, eps)
    slope = torch.cat([_slope(posterior, statistics[i], eps[i]) for i in range(4)])
    torch.testing.assert_close(log_q, standard_normal_log_prob(eps) - slope, atol=1e-9, rtol=0)
    plain, _ = Posterior(SIZE).draw(statistics, eps)
    assert float((z - plain).abs().min(0).values.max()) > 1e-3, "the flow does something"


def _slope(posterior: Posterior, statistics: Tensor, eps: Tensor) -> Tensor:
    """log abs det dz/deps of one row, by autograd. -> (1,)."""
    return log_abs_det(lambda e: posterior.draw(statistics[None], e)[0], eps[None])


@every_flow
def test_every_number_of_the_encoder_moves_the_draw(flow: PosteriorFlow) -> None:
    posterior = Posterior(SIZE, flow)
    statistics = draws(5, (posterior.num_statistics,)).requires_grad_()
    z, log_q = posterior.draw(statistics, draws(5, (SIZE,), 1))
    (gradient,) = torch.autograd.grad((z.sin().sum() + log_q.cos().sum()), statistics)
    moved = gradient.abs().amax(0) > 0
    if isinstance(flow, SylvesterPosterior):
        # Below the diagonals of R and R~ nothing is looked at: two of each block's numbers.
        assert int((~moved).sum()) == 2 * flow.num_blocks
    else:
        assert bool(moved.all())


def test_iaf_is_the_gated_step_of_the_paper_and_its_orders_turn_round() -> None:
    with seeded():
        flow = IAFPosterior(SIZE, (8,), 4, 1)
        two = IAFPosterior(SIZE, (8,), 4, 2)
    wild(flow)
    wild(two)
    context, z = draws(1, (4,)), draws(1, (SIZE,), 2)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v, context)[0][0], z)[:, 0]
    assert torch.equal(jacobian.triu(1), torch.zeros_like(jacobian))
    assert bool((jacobian.tril(-1)[1:, :2].abs().sum() > 0).item())
    diagonal = jacobian.diagonal()
    assert bool(((diagonal > 0) & (diagonal < 1)).all())
    both = torch.autograd.functional.jacobian(lambda v: two(v, context)[0][0], z)[:, 0]
    assert bool((both.triu(1).abs().sum() > 0).item())


def test_a_normal_posterior_is_torchs() -> None:
    posterior = Posterior(SIZE).double()
    statistics, eps = draws(6, (2 * SIZE,)), draws(6, (SIZE,), 1)
    mean, log_std = statistics.chunk(2, 1)
    q = Normal(mean, log_std.exp())
    z, log_q = posterior.draw(statistics, eps)
    torch.testing.assert_close(z, mean + log_std.exp() * eps)
    torch.testing.assert_close(log_q, q.log_prob(z).sum(1))
    torch.testing.assert_close(posterior.centre(statistics), mean)


def test_kl_is_torchs_unit_by_unit() -> None:
    mean, log_std = draws(6, (SIZE,)), draws(6, (SIZE,), 1)
    expected = kl_divergence(Normal(mean, log_std.exp()), Normal(torch.zeros(()).double(), 1.0))
    torch.testing.assert_close(normal_kl(mean, log_std), expected)


def test_an_encoder_that_runs_away_gives_finite_numbers() -> None:
    posterior = Posterior(SIZE)
    statistics = torch.full((1, 2 * SIZE), 1e4)
    _, log_std = posterior.normal(statistics)
    assert bool((log_std == MOST_LOG_STD).all())
    z, log_q = posterior.draw(-statistics, torch.ones(1, SIZE))
    assert bool(z.isfinite().all())
    assert bool(log_q.isfinite().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"posterior": "sylvester", "posterior_units": 3}, "accepted are 1 up to 2"),
        ({"posterior": "sylvester", "posterior_reflections": 0}, "accepted are 1 and more"),
        ({"posterior": "planar", "posterior_blocks": 0}, "accepted are 1 and more"),
        ({"posterior": "iaf", "latent_dims": 1}, "accepts 2 and more"),
        ({"posterior": "spline"}, "accepted are normal, planar, sylvester, iaf"),
        ({"prior": "vamp"}, "accepted are normal, coupling"),
        ({"prior": "coupling", "prior_blocks": 0}, "accepted are 1 and more"),
        ({"prior": "coupling", "latent_dims": 1}, "accepted are 2 and more"),
        ({"latent_dims": 0}, "accepted are 1 and more"),
        ({"units_per_group": 3}, "accepted are divisors"),
        ({"free_bits": -1.0}, "accepted are 0 and more"),
        ({"num_importance_samples": 0}, "accepted are 1 and more"),
        ({"num_importance_samples": 2, "free_bits": 0.5}, "accepted is 0"),
        ({"encoder": "resnet"}, "accepted are mlp, conv"),
        ({"encoder": "conv", "encoder_hidden": (8, 8)}, "conv accepts one width"),
        ({"decoder": "conv", "decoder_channels": ()}, "one or more widths"),
        ({"decoder_hidden": (0,)}, "accepted are widths of 1 and more"),
        ({"encoder": "conv", "event_shape": (4,)}, "accepts images"),
        ({"event_shape": (4,), "num_levels": 0}, "accepted are 2 or more"),
        ({"num_levels": 4}, "bernoulli has 2 levels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Model(Config(**settings))
