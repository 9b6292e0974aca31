"""The bounds of autoencoders against sums and integrals that are known."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from models.core.contract.likelihood import log_mean_exp
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.latent.config import LatentConfig
from models.core.latent.importance import ImportanceParams
from models.core.latent.model import LatentModel
from models.vae import Model
from tests.support.models.invertible import draws, seeded
from tests.support.models.pixels import every_image
from tests.support.models.tiny import events_of, random_model

NOISE = 0.7


class LinearVAE(LatentModel):
    """x = W z + mean + noise, encoded by one linear layer: probabilistic PCA.

    Tipping and Bishop 1999; Lucas et al. 2019, arXiv:1911.02469. The columns of W are orthogonal,
    so that the true posterior is a diagonal normal, which the encoder can give.
    """

    def __init__(self, size: int = 5, num_latents: int = 2) -> None:
        super().__init__(
            LatentConfig(
                event_shape=(size,), num_levels=0, latent_dims=num_latents, encoder_hidden=()
            )
        )
        basis, _ = torch.linalg.qr(draws(size, (size,)))
        scales = torch.linspace(1.5, 0.8, num_latents, dtype=torch.float64)
        self.weight = nn.Parameter(basis[:, :num_latents] * scales)
        self.mean = nn.Parameter(draws(1, (size,), 3)[0])
        self.double()

    def log_prob_given(self, x: Tensor, z: Tensor) -> Tensor:
        means = (z @ self.weight.T + self.mean).unflatten(0, (len(x), -1))
        error = ((x[:, None] - means) / NOISE).square().sum(2).flatten()
        return -0.5 * error - x.shape[1] * math.log(NOISE * math.sqrt(2 * math.pi))

    def exact(self) -> MultivariateNormal:
        """The closed form of p(x)."""
        identity = torch.eye(len(self.mean)).double()
        return MultivariateNormal(self.mean, self.weight @ self.weight.T + NOISE**2 * identity)

    def solve(self) -> None:
        """The encoder whose q(z given x) is p(z given x) = N(M^-1 W^T (x - mean), NOISE^2 M^-1)."""
        m = (self.weight.T @ self.weight).diagonal() + NOISE**2
        to_mean = self.weight.T / m[:, None]
        layer = self.encoder.get_submodule("layers.0")
        assert isinstance(layer, nn.Linear)
        # Encoders see 2 x - 1.
        weight = torch.cat([to_mean / 2, torch.zeros_like(to_mean)])
        shift = to_mean.sum(1) / 2 - to_mean @ self.mean
        layer.weight.copy_(weight)
        layer.bias.copy_(torch.cat([shift, (NOISE**2 / m).log() / 2]))


@torch.no_grad()
def linear_vae() -> LinearVAE:
    """At the optimum."""
    with seeded():
        model = LinearVAE()
    model.solve()
    return model.requires_grad_(False)


def bound(model: LatentModel, x: Tensor, num_samples: int = 1, repeats: int = 1) -> Tensor:
    """Minus the objective at `repeats` independent noises. -> (repeats, B)."""
    many = x.repeat(repeats, *(1 for _ in model.event_shape))
    with seeded(7):
        return -model.objective(many, num_samples=num_samples).view(repeats, -1)


def test_the_bound_of_a_linear_model_is_exact_at_the_optimum() -> None:
    model, x = linear_vae(), 2 * draws(6, (5,), 1)
    exact = model.exact().log_prob(x)
    # Every single weight is p(x) then: no noise is left, with one latent or with many.
    weight = model.log_weight(x, model.statistics(x), draws(6, (2,), 2))
    torch.testing.assert_close(weight, exact)
    torch.testing.assert_close(bound(model, x, 5)[0], exact)
    closed = bound(model, x, 1, 20_000)
    error = closed.std(0) / math.sqrt(20_000)
    assert bool(((closed.mean(0) - exact).abs() < 4 * error).all())


@pytest.mark.parametrize("which", ["mean", "log_std"])
def test_the_bound_of_a_linear_model_is_below_the_exact_one_by_the_kl(which: str) -> None:
    """log p(x) - ELBO = KL(q || p(z given x)), which is known of two normals."""
    model, x = linear_vae(), 2 * draws(6, (5,), 1)
    layer = model.encoder.get_submodule("layers.0")
    assert isinstance(layer, nn.Linear)
    std = (layer.bias[2:]).exp()
    if which == "mean":
        layer.bias[0] += 0.4
        kl = 0.5 * (0.4 / std[0]).square()
    else:
        layer.bias[3] += 0.3
        kl = 0.5 * (math.exp(0.6) - 1) - torch.tensor(0.3).double()
    found = bound(model, x, 1, 40_000)
    gap = model.exact().log_prob(x) - found.mean(0)
    error = found.std(0) / math.sqrt(40_000)
    assert bool((gap > 0).all())
    assert bool(((gap - kl).abs() < 4 * error).all())


def test_training_finds_the_optimum_of_a_linear_model() -> None:
    """From a poor encoder the mean bound comes within 0.02 nats of the exact likelihood."""
    model = linear_vae()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    x = _drawn(model, 512)
    model.encoder.requires_grad_(True)
    optimizer = torch.optim.Adam(model.encoder.parameters(), lr=2e-2)
    exact = float(model.exact().log_prob(x).mean())
    first = float(bound(model, x).mean().detach())
    with seeded():
        for _ in range(400):
            optimizer.zero_grad()
            model.objective(x).mean().backward()
            optimizer.step()
    last = float(bound(model, x, 1, 40).mean().detach())
    assert first < exact - 1
    assert exact - 0.02 < last < exact + 0.01


def _drawn(model: LinearVAE, num: int) -> Tensor:
    """Events of the model itself."""
    noise = NOISE * draws(num, model.event_shape, 5)
    return draws(num, (model.num_latents,), 4) @ model.weight.T + model.mean + noise


def tiny(**config: Any) -> Model:
    """Binary images of 2x2 pixels by two latents that matter, in float64.

    Its q(z given x) is wider than p(z given x), or the weights would have no variance.
    """
    model = random_model("vae", **{"event_shape": (1, 2, 2), **config})
    assert isinstance(model, Model)
    for module, scale in ((model.decoder, 1.5), (model.encoder, 0.15), (model.prior, 0.5)):
        for parameter in module.parameters() if module else ():
            parameter.mul_(scale)
    last = model.encoder.get_parameter("layers.2.bias")
    num = model.num_latents
    last[num : 2 * num] += 0.5
    return model.double()


def quadrature(model: Model, x: Tensor, num: int = 301, reach: float = 8.0) -> Tensor:
    """log of the integral of p(x given z) p(z) over two latents, by the trapezoid rule. -> (B,)."""
    ticks = torch.linspace(-reach, reach, num, dtype=torch.float64)
    z = torch.cartesian_prod(ticks, ticks)
    log_prob = torch.stack([model.log_prob_given(row[None], z) for row in x])
    return (log_prob + model.log_prior(z)).logsumexp(1) + 2 * (ticks[1] - ticks[0]).log()


@pytest.mark.parametrize("prior", ["normal", "coupling"])
def test_all_images_have_probability_one(prior: str) -> None:
    model = tiny(prior=prior)
    x = every_image((2, 2), 2)
    total = quadrature(model, x).logsumexp(0)
    assert float(total) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("posterior", ["normal", "planar", "sylvester", "iaf"])
@pytest.mark.parametrize("prior", ["normal", "coupling"])
def test_many_latents_reach_the_integral(posterior: str, prior: str) -> None:
    model = tiny(posterior=posterior, prior=prior)
    x = every_image((2, 2), 2)[[0, 5, 6, 15]]
    exact = quadrature(model, x)
    found = bound(model, x, 20_000)[0]
    torch.testing.assert_close(found, exact, atol=0.06, rtol=0)
    one = bound(model, x, 1, 2000)
    error = one.std(0) / math.sqrt(2000)
    assert bool((one.mean(0) < exact + 4 * error).all())


def test_the_bound_rises_with_the_number_of_latents() -> None:
    """Paired: the same events, and each mean far above the last one's in its own error."""
    model = tiny(event_shape=(1, 4, 4))
    x = events_of(model, 40).double()
    values = [bound(model, x, num, 200).mean(0) for num in (1, 2, 5, 20, 100)]
    for few, many in pairwise(values):
        difference = many - few
        assert float(difference.mean()) > 4 * float(difference.std()) / math.sqrt(len(x))


def test_the_served_bound_rises_with_k_and_knows_its_error() -> None:
    model = tiny(event_shape=(1, 4, 4)).float()
    x = events_of(model, 200)
    few, many = (served(model, x, num) for num in (2, 1000))
    difference = many["log_prob"] - few["log_prob"]
    assert float(difference.mean()) > 3 * float(difference.std()) / math.sqrt(len(x))
    again = served(model, x, 1000, seed=1)
    pulls = (again["log_prob"] - many["log_prob"]) / many["standard_error"] / math.sqrt(2)
    assert float(pulls.square().mean()) == pytest.approx(1, abs=0.3)
    assert bool(served(model, x, 1)["standard_error"].isnan().all())


@torch.no_grad()
def served(model: LatentModel, x: Tensor, num_samples: int, seed: int = 0) -> Rows:
    """What /log_likelihood gives."""
    operation = model.operations()["log_likelihood"]
    inputs = {"seed": torch.full((len(x),), seed), "x": x}
    return run(operation, inputs, ImportanceParams(num_samples))


def test_the_latents_of_few_are_the_first_of_many() -> None:
    """Of a step that is not full the rest adds nothing: sums of weights differ by the new ones."""
    model = random_model("vae")
    assert isinstance(model, LatentModel)
    x = events_of(model, 4)
    total = [
        (served(model, x, num)["log_prob"].double() + math.log(num)).exp() for num in (15, 16, 17)
    ]
    assert bool((total[0] < total[1]).all())
    assert bool((total[1] < total[2]).all())


def test_training_and_serving_weigh_alike() -> None:
    model = tiny(posterior="sylvester", prior="coupling")
    x = every_image((2, 2), 2)[:6]
    found = served(model.float(), x.float(), 3000)
    torch.testing.assert_close(
        found["log_prob"].double(), quadrature(model.double(), x), atol=0.06, rtol=0
    )


def test_log_mean_exp_is_what_it_says() -> None:
    log_weight = draws(3, (7,))
    torch.testing.assert_close(log_mean_exp(log_weight, 1), log_weight.exp().mean(1).log())
