"""Diffusion models: the loss, the labels, and guidance."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction
from models.ddpm import Config, Model
from tests.support.models.invertible import seeded
from tests.support.models.tiny import events_of, random_model
from training.export import export


def model_of(**config: Any) -> Model:
    model = random_model("ddpm", **config)
    assert isinstance(model, Model)
    return model


def rows(num: int) -> tuple[Tensor, Tensor, Tensor]:
    """z, t and label, the last three of the labels -1, 0, 1, 2 in turn."""
    with seeded():
        z = torch.randn(num, 1, 8, 8)
    return z, torch.arange(1, num + 1).float(), torch.arange(num) % 4 - 1


class Constant(Model):
    """Finds the same noise everywhere, and notes what it was asked."""

    found = 0.0

    def eps(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        self.asked = (z, t, label)
        return torch.full_like(z, self.found)


def test_the_loss_is_the_mean_square_of_what_is_left_of_the_noise() -> None:
    model, x = Constant(Config()), torch.rand(2000, 1, 8, 8)
    with seeded():
        assert float(model.loss(x).mean()) == pytest.approx(1.0, abs=0.02)
        model.found = 2.0
        assert float(model.loss(x).mean()) == pytest.approx(5.0, abs=0.05)


def test_images_are_noised_to_times_spread_evenly() -> None:
    model, x = Constant(Config()), torch.full((2000, 1, 8, 8), 0.75)
    with seeded():
        model.loss(x)
    z, t, _ = model.asked
    assert torch.equal(t.unique(), torch.arange(1.0, 21.0))
    assert int(t.long().bincount()[1:].min()) >= 99
    for time in (1, 10, 20):
        own, at = z[t == time], torch.tensor([time])
        assert float(own.mean()) == pytest.approx(float(model.schedule.alpha_bar(at)) / 2, abs=0.06)
        assert float(own.std()) == pytest.approx(float(model.schedule.beta_bar(at)), abs=0.05)


def test_labels_are_dropped_in_training_only() -> None:
    x, y = torch.rand(4000, 1, 8, 8), torch.arange(4000) % 3
    model = Constant(Config(drop_label=0.25))
    with seeded():
        model.train().loss(x, y)
    label = model.asked[2]
    assert float((label < 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(label[label >= 0], y[label >= 0])
    model.eval().loss(x, y)
    assert torch.equal(model.asked[2], y)
    model.loss(x)
    assert bool((model.asked[2] == -1).all())


def test_a_model_without_classes_ignores_labels() -> None:
    model = Constant(Config(conditional=False))
    assert model.num_classes == 0
    model.loss(torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
    assert bool((model.asked[2] == -1).all())


def test_guidance_goes_from_no_class_to_the_class_and_beyond() -> None:
    model = model_of()
    z, t, label = rows(8)
    scale = torch.tensor([1.0, 1.0, 0.0, 3.0, 3.0, 0.5, 1.0, 2.0])
    given, free = model.eps(z, t, label), model.eps(z, t, torch.full_like(label, -1))
    expected = free + scale.view(-1, 1, 1, 1) * (given - free)
    torch.testing.assert_close(model.denoise(z, t, label, scale), expected, atol=1e-5, rtol=0)
    assert not torch.allclose(given[label >= 0], free[label >= 0], atol=1e-2)


def test_guidance_costs_a_second_look_only_where_it_matters() -> None:
    model = Constant(Config())
    z, t, label = rows(4)
    model.denoise(z, t, label, torch.tensor([3.0, 1.0, 3.0, 1.0]))
    assert len(model.asked[0]) == 5
    assert model.asked[2].tolist() == [-1, 0, 1, 2, -1]
    model.denoise(z, t, label, torch.ones(4))
    assert len(model.asked[0]) == 4


def test_pixels_and_data_are_two_views_of_one_image() -> None:
    model = model_of()
    x = events_of(model, 3)
    z = model.from_event(x)
    assert float(z.min()) >= -1
    torch.testing.assert_close(model.to_event(z), x)
    assert model.to_event(torch.tensor([-3.0, 2.0])).tolist() == [0.0, 1.0]


class Knowing(Model):
    """Knows that every image is of one grey."""

    def eps(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        alpha_bar, beta_bar = (
            share.view(-1, 1, 1, 1)
            for share in (self.schedule.alpha_bar(t), self.schedule.beta_bar(t))
        )
        return ((z - alpha_bar * self.from_event(torch.tensor(0.75))) / beta_bar).to(z)


def test_who_knows_the_data_has_no_loss() -> None:
    x = torch.full((100, 1, 8, 8), 0.75)
    assert float(Knowing(Config()).loss(x).max()) < 1e-6


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_shares_beyond_the_whole_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match="accepted are 0 to 1"):
        Model(Config(drop_label=share))


@pytest.mark.slow
@pytest.mark.parametrize("config", [{}, {"conditional": False, "patch": 1, "channels": (8, 8, 8)}])
def test_the_network_exports(config: dict[str, Any]) -> None:
    """On rows of noise, of saturated pixels and far outside, at both ends of time.

    Not of zeros: what a group norm divides by is nothing there but rounding.
    """
    model = model_of(**config)
    exported = OnnxFunction(export(model.graphs()["eps"], half=False), num_threads=1)
    z, t, label = rows(8)
    z = z * torch.tensor([0.1, 1.0, 1.0, 3.0, 60.0, 1.0, 1.0, 1.0]).view(-1, 1, 1, 1)
    z[5], z[6] = 1.0, -1.0
    t[-1] = 20.0
    label = label.clamp(max=model.num_classes - 1)
    (found,) = exported(z, t, label)
    torch.testing.assert_close(found, model.eps(z, t, label), atol=1e-3, rtol=1e-4)


def test_training_shows_the_noise_that_scores_look_at() -> None:
    """sigma from 0.01 to 2 in equal ratios: the share below 0.1 is that of its logarithm."""
    config = Config(num_train_steps=1000, train_times="ratios", conditional=False)
    model = Constant(config)
    model.loss(torch.rand(2000, 1, 8, 8))
    _, t, _ = model.asked
    assert t.dtype == torch.float32
    sigma = model.schedule.beta_bar(t) / model.schedule.alpha_bar(t)
    assert float(sigma.min()) == pytest.approx(0.01, rel=0.05)
    assert float(sigma.max()) == pytest.approx(2.0, rel=0.05)
    share = math.log(0.1 / 0.01) / math.log(2.0 / 0.01)
    assert float((sigma < 0.1).double().mean()) == pytest.approx(share, abs=0.01)
