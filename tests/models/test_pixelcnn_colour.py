"""PixelCNN of colour images: each colour of a pixel given the earlier ones, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.pixelcnn import Model
from tests.support.models.pixels import BINARY, PLAIN, every_image, pixelcnn
from tests.support.models.tiny import events_of

RED, GREEN, BLUE = range(3)


def influence(model: Model, seed: int = 0) -> Tensor:
    """How much each value's numbers change with each value of the image. -> (K, P, K, P), >= 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(model.event_shape, generator=generator, dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.int64)
    jacobian = torch.autograd.functional.jacobian(lambda one: model.net(one[None], label)[0], x)
    num_colours, height, width = model.event_shape
    num_pixels = height * width
    return jacobian.abs().sum(3).view(num_colours, num_pixels, num_colours, num_pixels)


@pytest.mark.parametrize(
    "config",
    [
        {"num_layers": 3, "dilations": (1,), "head_channels": 32},
        {"num_layers": 3, "kernel_size": 5, "input_kernel_size": 3, "head_channels": 32, **PLAIN},
    ],
)
def test_a_colour_sees_earlier_pixels_and_its_own_earlier_colours(config: dict[str, Any]) -> None:
    model = pixelcnn(event_shape=(3, 3, 4), **config)
    # Units of the head that are off for one image are on for another.
    seen = torch.stack([influence(model, seed) for seed in range(3)]).amax(0)
    colour, pixel = torch.meshgrid(torch.arange(3), torch.arange(12), indexing="ij")
    of, at = colour[:, :, None, None], pixel[:, :, None, None]
    earlier = (pixel < at) | ((pixel == at) & (colour < of))
    assert bool((seen[~earlier] == 0).all())
    assert bool((seen[earlier] > 0).all())
    assert bool((seen[GREEN, 5, RED, 5] > 0) & (seen[BLUE, 5, GREEN, 5] > 0))
    assert not bool(seen[RED, 5, (GREEN, BLUE), 5].any())


@pytest.mark.parametrize(
    ("config", "num_levels", "shape"),
    [
        (BINARY, 2, (1, 2)),
        ({**BINARY, "coordinates": False}, 2, (2, 2)),
        ({"num_levels": 3, "output": "logistic_mixture", **PLAIN}, 3, (2, 1)),
        ({"num_levels": 3, "output": "categorical"}, 3, (1, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_all_colour_images_sum_to_one(
    config: dict[str, Any], num_levels: int, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    model, x = pixelcnn(event_shape=(3, *shape), **config), every_image(shape, num_levels, 3)
    model, x = model.to(dtype), x.to(dtype)
    for label in range(-1, model.num_classes):
        log_prob = model.log_prob(x, torch.full((len(x),), label))
        assert log_prob.dtype == dtype
        total = float(log_prob.double().exp().sum())
        assert total == pytest.approx(1, abs=1e-5 if dtype == torch.float32 else 1e-10)
        assert float(log_prob.std()) > 0.1


def test_log_prob_is_the_sum_over_colours_given_the_drawn_ones() -> None:
    """One value after another, what is not drawn yet being anything."""
    model = pixelcnn(event_shape=(3, 2, 3), num_levels=7, output="logistic_mixture")
    x, label = events_of(model, 4).double(), torch.tensor([-1, 0, 1, 2])
    drawn, total = torch.full_like(x, 0.3), torch.zeros(4, dtype=torch.float64)
    for row in range(2):
        for column in range(3):
            for k in (RED, GREEN, BLUE):
                params = model.net(2 * drawn - 1, label)[:, k, row, column]
                level = model.grid.levels(x[:, k, row, column])
                total += model.output.log_probs(params).gather(1, level[:, None])[:, 0]
                drawn[:, k, row, column] = x[:, k, row, column]
    torch.testing.assert_close(model.log_prob(x, label), total, atol=1e-10, rtol=0)


def test_colours_are_no_copies_of_one_another() -> None:
    """Each has numbers of its own even where all see the same."""
    model = pixelcnn(event_shape=(3, 2, 2))
    for part in model.net.earlier:
        assert isinstance(part, torch.nn.Linear)
        part.weight.zero_()
    params = model.net(torch.zeros(1, 3, 2, 2, dtype=torch.float64), torch.tensor([-1]))[0]
    for one, other in ((RED, GREEN), (GREEN, BLUE), (RED, BLUE)):
        assert float((params[one] - params[other]).abs().amax(2).min()) > 1e-3
    assert not bool(influence(model)[GREEN, 3, RED, 3].any())


def test_blue_that_sees_green_less_red_cannot_tell_greys_apart() -> None:
    """A known answer of the head: what R and G enter with are their own weights, by column."""
    model = pixelcnn(event_shape=(3, 1, 1), num_levels=9, output="logistic_mixture", **PLAIN)
    blue = model.net.earlier[1]
    assert isinstance(blue, torch.nn.Linear)
    blue.weight.copy_(torch.tensor([[-1.0, 1.0]]).expand_as(blue.weight))
    greys = torch.arange(9)[:, None].expand(-1, 3)
    pixel = 2 * model.grid.values(greys).double() - 1
    found = model.net(pixel[:, :, None, None], torch.full((9,), -1))[:, BLUE]
    torch.testing.assert_close(found, found[:1].expand_as(found))
    pixel[:, RED] = -1
    found = model.net(pixel[:, :, None, None], torch.full((9,), -1))[:, BLUE, 0, 0]
    assert float((found[1:] - found[:-1]).abs().amax(1).min()) > 1e-3
