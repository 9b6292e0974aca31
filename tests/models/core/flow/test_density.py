"""What all flows share: exact densities of vectors, bounds of levels, sampling, encoding."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import event_seeds, normal, row_seeds
from models.core.contract.operation import NoParams, Operation, run
from models.core.contract.rows import Rows
from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.flow.programs import (
    FlowDecode,
    FlowEncode,
    FlowEncodeParams,
    FlowLogLikelihood,
    FlowLogLikelihoodParams,
    FlowSample,
    FlowSampleParams,
)
from models.core.transforms.dequantisation import UniformDequantisation
from models.core.transforms.linear import PLU
from models.core.transforms.mixture_cdf import MixtureCDF
from models.core.transforms.transform import Centre, Chain, Flatten, Logit, Standardise
from models.core.transforms.variational_dequantisation import VariationalDequantisation
from tests.support.models.invertible import draws, seeded, wild


def flow(
    event_shape: tuple[int, ...],
    num_levels: int = 0,
    *,
    variational: bool = False,
    spread: float = 0.1,
    **config: Any,
) -> FlowModel:
    """A marginal map and a linear map with random weights, in float32."""
    size = math.prod(event_shape)
    with seeded(1):
        parts = [Flatten(event_shape), MixtureCDF((size,), 3), PLU((size,))]
        q = VariationalDequantisation(num_levels, event_shape, channels=4) if variational else None
    settings = FlowConfig(event_shape=event_shape, num_levels=num_levels, **config)
    model = FlowModel(settings, Chain(parts), q)
    wild(model, spread).float()
    return model.eval()


def answer(operation: Operation[Any], inputs: Rows, params: Any) -> Rows:
    """The result, without gradients."""
    with torch.no_grad():
        return run(operation, inputs, params)


def pair_events(num_levels: int) -> Tensor:
    """All images of two pixels. -> (num_levels^2, 1, 1, 2)."""
    grey = torch.arange(num_levels) / (num_levels - 1)
    return torch.cartesian_prod(grey, grey).view(-1, 1, 1, 2)


def test_the_entrance_fits_the_events() -> None:
    assert isinstance(flow((3,)).flow.parts[0], Standardise)
    assert isinstance(flow((1, 2, 2), 4).flow.parts[0], Logit)
    assert isinstance(flow((1, 2, 2), 4, logit_margin=0.0).flow.parts[0], Centre)
    for shape, num_levels, first in (((3,), 0, Standardise), ((1, 2, 2), 4, Logit)):
        entrance = flow(shape, num_levels, marginal_components=2).flow.parts[0]
        assert isinstance(entrance, Chain)
        assert [type(part) for part in entrance.parts] == [first, MixtureCDF]
    assert isinstance(flow((3,), 4).dequantisation, UniformDequantisation)
    assert flow((3,)).dequantisation is None
    assert flow((3,)).likelihood is Likelihood.EXACT
    assert flow((3,), 4).likelihood is Likelihood.BOUND
    assert flow((2, 3, 5), 4).latent_shape == (30,)


@pytest.mark.parametrize("entrance", [{}, {"logit_margin": 0.0}, {"marginal_components": 2}])
@pytest.mark.parametrize("variational", [False, True])
def test_probabilities_of_all_events_are_the_mass_in_their_cells(
    variational: bool, entrance: dict[str, Any]
) -> None:
    model = flow((1, 1, 2), 3, variational=variational, **entrance).double()
    # A flow on the real line leaves some of its mass outside of (0, 1).
    ticks = (torch.arange(600).double() + 0.5) / 600
    y = torch.cartesian_prod(ticks, ticks).view(-1, 1, 1, 2)
    with torch.no_grad():
        density = model.log_density(y).exp().view(3, 200, 3, 200)
        mass = density.mean((1, 3)).flatten() / 9
        # E_q[exp(bound)] is the mass of the cell, whatever q.
        num = 8000
        noise = normal(row_seeds(0, num), torch.zeros(num, dtype=torch.int64), (1, 1, 2)).double()
        x = pair_events(3).double()
        weights = torch.stack([model.log_prob(row.expand(num, 1, 1, 2), noise) for row in x]).exp()
    error = weights.std(1) / math.sqrt(num)
    assert float((error / mass).max()) < 0.05
    assert bool(((weights.mean(1) - mass).abs() < 5 * error).all())
    assert 0.05 < float(mass.sum()) <= 1 + 1e-6
    bound = weights.log().mean(1)
    assert float((mass.log() - bound).mean()) > 5e-4
    assert bool((bound < mass.log() + 5 * error / mass).all())


def likelihood_of(model: FlowModel, x: Tensor, num_samples: int, seed: int = 0) -> Rows:
    """By the operation."""
    seeds = torch.full((len(x),), seed)
    params = FlowLogLikelihoodParams(num_samples)
    return answer(FlowLogLikelihood(model), {"seed": seeds, "x": x}, params)


@pytest.mark.parametrize("variational", [False, True])
def test_more_noises_tighten_the_bound(variational: bool) -> None:
    model, num = flow((1, 4, 4), 2, variational=variational, spread=0.2), 400
    x, seed = draws(1, (1, 4, 4)).float().sigmoid().expand(num, 1, 4, 4), torch.arange(num)
    looser, tighter = (
        answer(FlowLogLikelihood(model), {"seed": seed, "x": x}, FlowLogLikelihoodParams(k))
        for k in (1, 16)
    )
    gain = tighter["log_prob"] - looser["log_prob"]
    assert float(gain.mean()) > 4 * float(gain.std()) / math.sqrt(num)


def test_the_bound_is_the_log_of_the_mean_weight_and_knows_its_error() -> None:
    model, x = flow((1, 2, 3), 5), draws(4, (1, 2, 3)).float().sigmoid()
    assert model.grid is not None
    on_grid = model.grid.values(model.grid.levels(x))
    seed = event_seeds(torch.full((4,), 7), on_grid)
    with torch.no_grad():
        weights = torch.stack(
            [
                model.log_prob(on_grid, normal(seed, torch.full((4,), step), (1, 2, 3)))
                for step in range(6)
            ]
        ).double()
    found = likelihood_of(model, x, 6, seed=7)
    expected = weights.logsumexp(0) - math.log(6)
    torch.testing.assert_close(found["log_prob"].double(), expected, atol=1e-5, rtol=1e-6)
    relative = (weights - expected).exp()
    error = relative.std(0) / math.sqrt(6)
    torch.testing.assert_close(found["standard_error"].double(), error, atol=1e-5, rtol=1e-4)
    assert bool(likelihood_of(model, x, 1)["standard_error"].isnan().all())


def test_the_error_of_a_likelihood_of_thousands_of_nats_is_not_lost() -> None:
    class Far(FlowModel):
        def log_prob(self, x: Tensor, eps: Tensor | None = None) -> Tensor:
            assert eps is not None
            return -5000 + 1e-3 * eps.flatten(1).sum(1)

    model = Far(FlowConfig(event_shape=(4,), num_levels=3), PLU((4,)))
    found = likelihood_of(model.requires_grad_(False), torch.ones(1, 4), 50)
    expected = 1e-3 * 2 / math.sqrt(50)
    assert float(found["standard_error"]) == pytest.approx(expected, rel=0.5)


def test_a_real_vector_has_an_exact_density_and_no_error() -> None:
    model, x = flow((3,)), draws(5, (3,)).float()
    found = likelihood_of(model, x, 1)
    with torch.no_grad():
        z, log_abs_det = model.flow(x)
        normal_ = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        torch.testing.assert_close(found["log_prob"], normal_ + log_abs_det)
        torch.testing.assert_close(model.loss(x), -found["log_prob"])
    assert not bool(found["standard_error"].any())
    operation = FlowLogLikelihood(model)
    with pytest.raises(ValueError, match="accepted is 1"):
        operation.check({"x"}, FlowLogLikelihoodParams(2))
    assert operation.kind(FlowLogLikelihoodParams()) is Likelihood.EXACT
    assert FlowLogLikelihood(flow((3,), 4)).kind(FlowLogLikelihoodParams(2)) is Likelihood.BOUND


def test_the_same_event_has_the_same_number_at_any_place_and_others_have_others() -> None:
    model, x = flow((1, 2, 2), 4), draws(3, (1, 2, 2)).float().sigmoid()
    first = likelihood_of(model, x, 2)["log_prob"]
    again = likelihood_of(model, x[[2, 2, 0]], 2)["log_prob"]
    torch.testing.assert_close(again, first[[2, 2, 0]])
    assert not torch.allclose(first, likelihood_of(model, x, 2, seed=1)["log_prob"])


def test_temperature_scales_the_latent() -> None:
    model, seed = flow((4,)), row_seeds(0, 300)
    sample = FlowSample(model)
    noise = normal(seed, torch.zeros_like(seed), (4,))
    for temperature in (0.0, 0.5, 1.0):
        x = answer(sample, {"seed": seed}, FlowSampleParams(temperature))["x"]
        torch.testing.assert_close(x, model.decode(temperature * noise)[:300])
    cold = answer(sample, {"seed": seed[:2]}, FlowSampleParams(0.0))["x"]
    torch.testing.assert_close(cold, model.decode(torch.zeros(1, 4)).expand(2, 4))
    assert FlowSample(flow((4,), temperature=0.7)).default_params.temperature == 0.7


def test_samples_of_levels_come_as_often_as_their_probability_says() -> None:
    model, num = flow((1, 1, 2), 3), 20_000
    x = answer(FlowSample(model), {"seed": row_seeds(5, num)}, FlowSampleParams())["x"]
    assert model.grid is not None
    found = model.grid.levels(x).view(num, 2)
    rate = torch.bincount(found[:, 0] * 3 + found[:, 1], minlength=9) / num
    ticks = (torch.arange(300) + 0.5) / 300
    y = torch.cartesian_prod(ticks, ticks).view(-1, 1, 1, 2)
    with torch.no_grad():
        mass = model.log_density(y).exp().view(3, 100, 3, 100).mean((1, 3)).flatten() / 9
    # The end cells also get what lies beyond them, so only the middle one is known.
    assert float(rate[4]) == pytest.approx(float(mass[4]), abs=4 * math.sqrt(mass[4] / num))


@pytest.mark.parametrize("shape", [(1, 4, 4), (16,)])
@pytest.mark.parametrize("variational", [False, True])
def test_every_level_comes_back_from_its_latent(shape: tuple[int, ...], variational: bool) -> None:
    model = flow(shape, 256, variational=variational)
    assert model.grid is not None
    x = model.grid.values(torch.arange(256)).view(16, *shape)
    inputs = {"seed": row_seeds(0, 16), "x": x}
    z = answer(FlowEncode(model), inputs, FlowEncodeParams())["z"]
    back = answer(FlowDecode(model), {"z": z}, NoParams())["x"]
    assert torch.equal(back, x)
    middle = (torch.arange(256).view(16, *shape) + 0.5) / 256
    torch.testing.assert_close(z, model.flow(middle)[0])
    noisy = answer(FlowEncode(model), inputs, FlowEncodeParams("noise"))["z"]
    assert not torch.allclose(noisy, z)


def test_decoding_a_latent_encodes_to_it() -> None:
    model, z = flow((5,)), draws(6, (5,)).float()
    x = answer(FlowDecode(model), {"z": z}, NoParams())["x"]
    seed = row_seeds(0, 6)
    for params in FlowEncode(model).examples:
        back = answer(FlowEncode(model), {"seed": seed, "x": x}, params)["z"]
        torch.testing.assert_close(back, z, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="needs latents"):
        FlowDecode(model).check({"x"}, NoParams())
    with pytest.raises(ValueError, match="needs images or arrays"):
        FlowEncode(model).check({"z"}, FlowEncodeParams())


def test_initialise_standardises_by_the_data() -> None:
    model = flow((3,))
    x = draws(400, (3,)).float() * torch.tensor([1.0, 50, 0.1]) + torch.tensor([9.0, 0, -4])
    model.initialise(x)
    entrance = model.flow.parts[0]
    assert isinstance(entrance, Standardise)
    torch.testing.assert_close(entrance.mean, x.mean(0), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(entrance.std, x.std(0), atol=1e-4, rtol=1e-4)
    inner = model.flow.parts[1]
    assert isinstance(inner, Chain)
    mixture = inner.parts[1]
    assert isinstance(mixture, MixtureCDF)
    quantiles = ((x - x.mean(0)) / x.std(0)).quantile(torch.tensor([1, 3, 5]) / 6, dim=0)
    torch.testing.assert_close(mixture.mean, quantiles.T, atol=0.03, rtol=0)
