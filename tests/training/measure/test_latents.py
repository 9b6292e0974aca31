"""Figures and pictures of latents on models whose use of them is known."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.vae import Config, Model
from tests.support.models.invertible import seeded
from tests.support.models.tiny import random_model
from tests.support.training.tiny import blobs
from training.data.splits import Split
from training.measure.latents import figures, pictures
from training.measure.own_figures import own_pictures

SIDE = 8


def binary(num: int) -> Split:
    """Spots at the left or at the right, in black and white."""
    split = blobs(num)
    return Split(np.where(split.x > 100, 255, 0).astype(np.uint8), split.y)


def one_unit(latent_dims: int = 3) -> Model:
    """Unit 0 says how bright the right half is; the others are as the prior."""
    with seeded():
        model = Model(
            Config(event_shape=(1, SIDE, SIDE), latent_dims=latent_dims, encoder_hidden=())
        )
    layer = model.encoder.get_submodule("layers.0")
    assert isinstance(layer, nn.Linear)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[0].view(SIDE, SIDE)[:, SIDE // 2 :] = 0.1
    return model.eval().requires_grad_(False)


def test_units_in_use_and_their_kl_are_counted() -> None:
    model, test = one_unit(), binary(60)
    found = figures(model, test)
    assert found["num_latents"] == 3
    assert found["active_units"] == 1
    x = torch.from_numpy(test.x).float() / 255
    mean = 0.1 * (2 * x[:, 0, :, SIDE // 2 :] - 1).sum((1, 2))
    expected = 0.5 * float(mean.square().mean())
    assert found["test_kl_nats_first_60"] == pytest.approx(expected, rel=1e-4)
    # The bound of the objective is at other noise, of which there is little in a mean.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bound = float(model.loss(x.repeat(20, 1, 1, 1)).mean())
    parts = found["test_kl_nats_first_60"] + found["test_reconstruction_nats_first_60"]
    assert parts == pytest.approx(bound, rel=0.02)


def test_a_bound_of_many_latents_is_rated_on_the_first_events() -> None:
    model, test = one_unit(), binary(60)
    # A decoder that does not look at z gives every weight but p(z) / q(z given x) the same.
    for parameter in model.decoder.parameters():
        parameter.zero_()
    model.encoder.get_parameter("layers.0.weight").mul_(0.3)
    found = figures(model, test)
    name = "test_log_likelihood_bound_nats_500_latents_first_60"
    assert found[name] == pytest.approx(-SIDE * SIDE * np.log(2), abs=0.1)
    assert found[f"{name}_standard_error"] < 0.1


@pytest.mark.parametrize(("latent_dims", "other"), [(3, "walks"), (2, "plane")])
def test_pictures_show_what_the_operations_give(latent_dims: int, other: str) -> None:
    model, test = one_unit(latent_dims), binary(60)
    found = pictures(model, test)
    assert set(found) == {"report/reconstructions.png", f"report/{other}.png"}
    x = found["report/reconstructions.png"]
    assert x.shape == (60, 1, SIDE, SIDE)
    assert torch.equal(x[20:30] * 255, torch.from_numpy(test.x[10:20]).float())
    assert not torch.equal(x[10:20], x[:10])
    shown = found[f"report/{other}.png"]
    assert len(shown) % 10 == 0
    if other == "walks":
        # A walk begins and ends where its two events are.
        assert torch.allclose(shown[[0, 9, 10, 19]], x[[10, 11, 12, 13]], atol=1e-6)


@pytest.mark.parametrize("posterior", ["normal", "planar"])
def test_the_use_of_units_is_a_picture(posterior: str) -> None:
    model = random_model("vae", event_shape=(1, SIDE, SIDE), posterior=posterior)
    (content,) = own_pictures(model, binary(30)).values()
    assert Image.open(io.BytesIO(content)).width > 300
