"""PixelVAE: what the latents reach, and the bound against quadrature over them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.contract.operation import run
from models.core.distributions.normal import standard_normal_log_prob
from models.core.latent.importance import ImportanceParams
from models.core.latent.posterior import normal_kl
from models.pixelvae import Config, Model
from tests.support.models.pixels import every_image
from tests.support.models.pixelvaes import CONFIGS, pixelvae
from tests.support.models.tiny import events_of, latents_of


def quadrature(num: int, num_dims: int) -> tuple[Tensor, Tensor]:
    """Gauss and Hermite's points of a standard normal, and logs of their weights.

    -> (num ** num_dims, num_dims), (num ** num_dims,)
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(num)
    points = torch.cartesian_prod(*[torch.from_numpy(nodes)] * num_dims).view(-1, num_dims)
    log_weight = torch.from_numpy(np.log(weights / weights.sum()))
    return points, torch.cartesian_prod(*[log_weight] * num_dims).view(-1, num_dims).sum(1)


def log_probs_given(model: Model, x: Tensor, z: Tensor) -> Tensor:
    """Of every image at every latent. Shapes: (N, 1, H, W), (M, D) -> (N, M)."""
    return model.log_prob_given(x, z.repeat(len(x), 1)).unflatten(0, (len(x), -1))


def exact(model: Model, x: Tensor, num: int = 40) -> Tensor:
    """log p(x) by quadrature over the prior. Shapes: (N, 1, H, W) -> (N,)."""
    z, log_weight = quadrature(num, model.num_latents)
    return (log_probs_given(model, x, z) + log_weight).logsumexp(1)


def bound(model: Model, x: Tensor, num: int = 40) -> Tensor:
    """The evidence lower bound by quadrature over the posterior. Shapes: (N, 1, H, W) -> (N,)."""
    eps, log_weight = quadrature(num, model.num_latents)
    statistics = model.statistics(x).repeat_interleave(len(eps), 0)
    many = x.repeat_interleave(len(eps), 0)
    found = model.log_weight(many, statistics, eps.repeat(len(x), 1))
    return found.unflatten(0, (len(x), -1)) @ log_weight.exp()


def tiny(**config: Any) -> Model:
    """Of 3x3 binary images; a posterior narrower than the prior, for quadrature's sake."""
    return pixelvae(event_shape=(1, 3, 3), **config)


def test_every_pixel_sees_the_latents_and_earlier_pixels_in_reach() -> None:
    model = pixelvae(event_shape=(1, 9, 9), num_layers=1, input_kernel_size=3)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(9, 9, generator=generator, dtype=torch.float64)
    z, label = latents_of(model, 1).double()[0], torch.tensor([-1])

    def params(x: Tensor, z: Tensor) -> Tensor:
        return model.net(x[None, None], label, model.features(z[None])).flatten()

    of_x, of_z = torch.autograd.functional.jacobian(params, (x, z))
    assert bool((of_z.abs().amax(1) > 1e-6).all())
    seen = of_x.view(81, 9, 9)[4 * 9 + 4] != 0
    row, column = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
    above = (row >= 2) & (row < 4) & ((column - 4).abs() <= 2)
    left = (row == 4) & (column >= 2) & (column < 4)
    assert bool((seen <= (above | left)).all())
    assert bool(seen[3, 3:6].all())
    assert bool(seen[4, 2:4].all())


@pytest.mark.parametrize("stack", ["above", "left"])
def test_both_stacks_of_every_layer_see_the_feature_maps(stack: str) -> None:
    """With the maps cut off everywhere else, one stack of one layer still tells of them."""
    for kept in range(3):
        model = pixelvae(num_layers=3)
        for i, layer in enumerate(model.net.gated):
            assert layer.given is not None
            if (i, stack) != (kept, "above"):
                layer.given.weight.zero_()
            if (i, stack) != (kept, "left"):
                layer.left.weight[:, -model.net.num_features :] = 0
        x, label = torch.zeros(2, 1, 4, 4, dtype=torch.float64), torch.tensor([-1, -1])
        first, second = model.net(x, label, model.features(latents_of(model, 2).double()))
        assert float((first - second).abs().amax(3).min()) > 1e-6


def test_a_network_without_maps_has_no_weights_for_them() -> None:
    with_maps, without = (set(pixelvae_net(num).state_dict()) for num in (3, 0))
    assert with_maps - without == {f"layers.{i}.given.weight" for i in range(2)}
    assert without < with_maps


def pixelvae_net(num_features: int) -> torch.nn.Module:
    """The PixelCNN of a model, with another number of maps."""
    net = pixelvae().net
    width = net.hidden.weight.shape[1]
    settings = {"kernel_size": 3, "input_kernel_size": 3, "dilations": (1,), "head_channels": 8}
    return type(net)(
        (4, 4),
        1,
        channels=width,
        num_layers=2,
        dropout=0.0,
        num_classes=0,
        coordinates=False,
        num_features=num_features,
        **settings,
    )


@pytest.mark.parametrize("config", CONFIGS)
def test_probabilities_given_a_latent_sum_to_one(config: dict[str, Any]) -> None:
    levels = config.get("num_levels", 2)
    shape = (3, 3) if levels == 2 else (2, 2)
    model = pixelvae(event_shape=(1, *shape), **config)
    x, z = every_image(shape, levels), 3 * latents_of(model, 3).double()
    found = log_probs_given(model, x, z)
    torch.testing.assert_close(found.exp().sum(0), torch.ones(3, dtype=torch.float64))
    assert float((found[:, 0] - found[:, 1]).abs().max()) > 0.1


@pytest.mark.parametrize(("latent_dims", "num"), [(1, 20), (2, 6)])
def test_probabilities_of_all_images_sum_to_one(latent_dims: int, num: int) -> None:
    model, x = tiny(latent_dims=latent_dims), every_image((3, 3), 2)
    total = exact(model, x, num).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("latent_dims", "num"), [(1, 60), (2, 30)])
def test_the_bound_is_exact_minus_the_divergence_from_the_true_posterior(
    latent_dims: int, num: int
) -> None:
    model, x = tiny(latent_dims=latent_dims), every_image((3, 3), 2)[::51]
    log_prob, lower = exact(model, x, num), bound(model, x, num)
    assert bool((lower < log_prob).all())
    eps, log_weight = quadrature(num, latent_dims)
    statistics = model.statistics(x).repeat_interleave(len(eps), 0)
    z, log_q = model.posterior.draw(statistics, eps.repeat(len(x), 1))
    joint = model.log_prob_given(x, z) + standard_normal_log_prob(z)
    log_posterior = joint.unflatten(0, (len(x), -1)) - log_prob[:, None]
    divergence = (log_q.unflatten(0, (len(x), -1)) - log_posterior) @ log_weight.exp()
    assert bool((divergence > 0).all())
    torch.testing.assert_close(lower, log_prob - divergence)
    mean, log_std = model.posterior.normal(model.statistics(x))
    given = log_probs_of(model, x, eps) @ log_weight.exp()
    torch.testing.assert_close(lower, given - normal_kl(mean, log_std).sum(1))


def log_probs_of(model: Model, x: Tensor, eps: Tensor) -> Tensor:
    """log p(x given z) at the posterior's z. Shapes: (N, 1, H, W), (M, D) -> (N, M)."""
    statistics = model.statistics(x).repeat_interleave(len(eps), 0)
    z, _ = model.posterior.draw(statistics, eps.repeat(len(x), 1))
    return model.log_prob_given(x, z).unflatten(0, (len(x), -1))


def test_what_is_served_rises_from_the_bound_to_the_exact_number() -> None:
    model = tiny(latent_dims=1)
    x = every_image((3, 3), 2)[5::64]
    log_prob, lower = exact(model, x), bound(model, x)
    model, events = model.float(), x.float()
    operation = model.operations()["log_likelihood"]
    seeds = torch.arange(400).repeat_interleave(len(x))
    inputs = {"seed": seeds, "x": events.repeat(400, 1, 1, 1)}
    few, many = (
        run(operation, inputs, ImportanceParams(num))["log_prob"].double().view(400, -1)
        for num in (1, 24)
    )
    for found, expected in ((few, lower), (many.exp(), log_prob.exp())):
        error = found.std(0) / 20
        assert bool(((found.mean(0) - expected).abs() < 4.5 * error).all())
    gain = many - few
    assert float(gain.mean()) > 4.5 * float(gain.std()) / gain.numel() ** 0.5


def test_training_minimises_the_bound() -> None:
    model = tiny(latent_dims=2)
    x = every_image((3, 3), 2)[3:4]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = model.loss(x.expand(2000, -1, -1, -1))
    expected = -bound(model, x)
    assert float((loss.mean() - expected).abs()) < 4.5 * float(loss.std()) / 2000**0.5


def test_training_in_bfloat16_gives_nats_in_float32() -> None:
    model = pixelvae(num_layers=3).float()
    x = events_of(model, 4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = model.loss(x)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(x)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0.5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"event_shape": (3, 4, 4)}, r"event_shape .* accepted is \(1, H, W\)"),
        ({"event_shape": (16,)}, "event_shape"),
        ({"num_features": 0}, "num_features 0: accepted are 1 and more"),
        ({"num_levels": 0}, "num_levels 0: accepted are 2"),
        ({"num_levels": 4}, "bernoulli has 2 levels"),
        ({"num_layers": 0}, "num_layers 0: accepted are 1 or more"),
        ({"kernel_size": 4}, "kernel size 4"),
        ({"decoder_channels": ()}, "channels"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"latent_dims": 0}, "latent_dims 0"),
    ],
)
def test_a_bad_config_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Model(Config(**config))
