"""What autoencoders serve: samples, latents, reconstructions, and networks of any shape."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import row_seeds, uniform
from models.core.contract.operation import run
from models.core.distributions.normal import standard_normal_log_prob
from models.core.latent.autoencoder import Autoencoder
from models.core.latent.nets import decoder, encoder
from models.core.latent.programs import (
    LatentDecodeParams,
    LatentEncodeParams,
    LatentSampleParams,
    ReconstructParams,
)
from tests.support.models.invertible import draws, seeded, wild
from tests.support.models.tiny import events_of, latents_of, random_model

MANY = 4000


def tiny(**config: Any) -> Autoencoder:
    """With random weights."""
    model = random_model("vae", **config)
    assert isinstance(model, Autoencoder)
    return model


@torch.no_grad()
def result(model: Autoencoder, name: str, params: Any, column: str, **inputs: Tensor) -> Tensor:
    """A column of an operation's result; rows have seeds of their own."""
    num = len(next(iter(inputs.values()))) if inputs else MANY
    seed = {"seed": row_seeds(0, num)}
    return run(model.operations()[name], {**seed, **inputs}, params)[column]


GREY = {"num_levels": 5, "output": "logistic_mixture", "num_components": 2}


@pytest.mark.parametrize("config", [{}, GREY, {"num_levels": 3, "output": "categorical"}])
def test_every_value_has_probability_one_and_the_mean_that_is_given(config: dict[str, Any]) -> None:
    model = tiny(event_shape=(1, 1, 2), **config).double()
    z = latents_of(model, 3).double()
    num = model.grid.num_levels
    values = model.grid.values(torch.arange(num)).double()
    x = torch.cartesian_prod(values, values).view(-1, 1, 1, 2)
    log_prob = torch.stack([model.log_prob_given(one[None], z) for one in x])
    torch.testing.assert_close(log_prob.logsumexp(0), torch.zeros(3).double())
    mean = torch.einsum("nb,nd->bd", log_prob.exp(), x.flatten(1)).view(3, 1, 1, 2)
    torch.testing.assert_close(model.expected(model.decode(z)), mean)


@pytest.mark.parametrize("config", [{}, GREY])
def test_drawn_values_have_the_mean_that_is_given(config: dict[str, Any]) -> None:
    model = tiny(event_shape=(1, 1, 2), **config)
    z = latents_of(model, 1).expand(MANY, -1)
    mean = result(model, "decode", LatentDecodeParams(), "x", z=z)[0]
    drawn = result(model, "decode", LatentDecodeParams("noise"), "x", z=z)
    error = drawn.std(0) / MANY**0.5
    assert bool(((drawn.mean(0) - mean).abs() < 4 * error + 1e-6).all())
    assert bool((drawn.std(0) > 0.01).all())


def test_samples_come_from_the_prior_and_the_decoder() -> None:
    """The mean of samples is that of decoded latents; at temperature 0 all are one image."""
    model = tiny(event_shape=(1, 1, 2))
    z = torch.randn(MANY, 2, generator=torch.Generator().manual_seed(1))
    expected = result(model, "decode", LatentDecodeParams(), "x", z=z).mean(0)
    for params in (LatentSampleParams(), LatentSampleParams(values="mean")):
        x = result(model, "sample", params, "x")
        assert bool(((x.mean(0) - expected).abs() < 5 * x.std(0) / MANY**0.5).all())
    centre = result(model, "decode", LatentDecodeParams(), "x", z=torch.zeros(1, 2))
    cold = result(model, "sample", LatentSampleParams(0.0, "mean"), "x")
    torch.testing.assert_close(cold, centre.expand_as(cold))


def test_a_flow_prior_is_drawn_as_it_is_rated() -> None:
    """E_p[1 / p] of a box: draws and the density of the prior agree on its volume."""
    model = tiny(prior="coupling").double()
    with torch.no_grad():
        base = torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0)).double()
        z = model.from_base(base)
        torch.testing.assert_close(
            model.from_base(base)[:5], model.from_base(base[:5]), atol=1e-12, rtol=0
        )
        inside = (z.abs() < 0.5).all(1)
        volume = (inside / model.log_prior(z).exp()).mean()
    assert float(volume) == pytest.approx(1.0, abs=0.06)
    assert float((model.log_prior(z) - standard_normal_log_prob(z)).abs().max()) > 0.1


def test_encoding_gives_the_posterior() -> None:
    model = tiny()
    x = events_of(model, 1).expand(MANY, -1, -1, -1)
    mean, log_std = model.posterior.normal(model.statistics(x[:1]))
    centre = result(model, "encode", LatentEncodeParams(), "z", x=x[:1])
    torch.testing.assert_close(centre, mean)
    drawn = result(model, "encode", LatentEncodeParams("noise"), "z", x=x)
    torch.testing.assert_close(drawn.mean(0, keepdim=True), mean, atol=0.1, rtol=0.1)
    torch.testing.assert_close(drawn.std(0, keepdim=True), log_std.exp(), atol=0.05, rtol=0.05)


def test_reconstructing_is_encoding_and_decoding() -> None:
    model = tiny(posterior="planar")
    x = events_of(model, 6)
    for latent in ("mean", "noise"):
        z = result(model, "encode", LatentEncodeParams(latent), "z", x=x)
        for values in ("mean", "noise"):
            params = ReconstructParams(latent, values)
            back = result(model, "reconstruct", params, "x", x=x)
            decoding = LatentDecodeParams(values)
            assert torch.equal(back, result(model, "decode", decoding, "x", z=z))


def test_values_and_latents_do_not_share_their_noise() -> None:
    """Stream 0 is that of the latents."""
    model, seed = tiny(event_shape=(1, 1, 2)), row_seeds(0, 20)
    x = events_of(model, 20)
    for name, params in (
        ("sample", LatentSampleParams()),
        ("reconstruct", ReconstructParams("noise", "noise")),
    ):
        rows = model.operations()[name].init({"seed": seed, "x": x}, params)
        latents = uniform(seed, torch.zeros_like(seed), (1, 1, 2))
        assert bool((rows["u"] != latents).all()), name


def test_an_image_between_levels_counts_as_the_nearest_event() -> None:
    model = tiny()
    x = events_of(model, 5)
    off = (x + 0.3 * torch.where(x > 0.5, -1.0, 1.0)).clamp(0, 1)
    for name, column in (("log_likelihood", "log_prob"), ("encode", "z"), ("reconstruct", "x")):
        params = model.operations()[name].default_params
        a, b = (result(model, name, params, column, x=q) for q in (x, off))
        assert torch.equal(a, b), name


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 5, 7), (3, 9, 8)])
@pytest.mark.parametrize("channels", [(3,), (4, 3, 2)])
def test_networks_fit_sides_of_any_length(shape: Any, channels: tuple[int, ...]) -> None:
    with seeded():
        networks = (
            encoder("conv", shape, channels, (6,), 5),
            decoder("conv", 5, (6,), channels, shape, 3),
        )
    for network in networks:
        wild(network)
    found = networks[0](draws(2, shape))
    back = networks[1](found)
    assert found.shape == (2, 5)
    assert back.shape == (2, *shape, 3)
    # Every number follows its latents, at the edges too.
    assert bool(((back[0] - back[1]).abs() > 0).all())


def test_a_start_at_the_frequencies_is_the_histogram_of_every_pixel() -> None:
    with seeded():
        model = Autoencoder(replace(tiny().config, event_shape=(1, 2, 2)))
    x = torch.tensor([[1.0, 0, 1, 1], [1, 0, 0, 1]]).view(2, 1, 2, 2)
    model.initialise(x)
    for parameter in model.decoder.parameters():
        parameter.data.zero_()
    mean = model.expected(model.decode(torch.zeros(1, 2)))[0, 0]
    torch.testing.assert_close(mean.detach(), torch.tensor([[0.98, 0.02], [0.5, 0.98]]))
