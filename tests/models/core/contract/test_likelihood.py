"""Nats, bits per dimension, and the cells that 8-bit pixels fill in the unit box."""

import math

import pytest
import torch

from models.core.contract.likelihood import (
    Likelihood,
    bits_per_dim,
    dequantise,
    log_cell_volume,
    quantise,
    to_unit,
)
from models.core.contract.noise import row_seeds

LEVELS = torch.arange(256, dtype=torch.uint8)


def test_bits_per_dim_of_known_densities() -> None:
    # Uniform over 256 levels: 8 bits a pixel. Certainty: none. A fair binary pixel: one.
    for num_dims, nats, expected in ((784, -784 * math.log(256), 8.0), (3, 0.0, 0.0)):
        found = bits_per_dim(torch.tensor([nats]), num_dims)
        assert found.item() == pytest.approx(expected, abs=1e-5)
    log_prob = torch.tensor([-64 * math.log(2), -32 * math.log(2)])
    assert bits_per_dim(log_prob, 64).tolist() == pytest.approx([1.0, 0.5])


def test_a_uniform_density_on_the_box_is_uniform_over_the_pixels() -> None:
    assert bits_per_dim(torch.tensor([log_cell_volume(12)]), 12).item() == pytest.approx(8)


def test_every_level_is_dequantised_into_its_own_cell() -> None:
    pixels = LEVELS.repeat(200, 1)
    x = dequantise(pixels, row_seeds(0, 200), torch.zeros(200, dtype=torch.int64))
    assert x.dtype == torch.float32
    assert float(x.min()) >= 0
    assert float(x.max()) < 1
    assert torch.equal((x.double() * 256).floor().byte(), pixels)
    # The place inside the cell is uniform: mean 1/2, variance 1/12, four standard errors.
    place = (x.double() * 256 - pixels.double()).flatten()
    assert abs(float(place.mean()) - 0.5) < 4 * math.sqrt(1 / 12 / len(place))
    assert abs(float(place.var()) - 1 / 12) < 4 * math.sqrt(1 / 180 / len(place))


@pytest.mark.parametrize("level", [100, 128, 254, 255])
def test_rounding_never_lifts_a_pixel_into_the_next_cell(level: int) -> None:
    # level + u with u near 1 rounds up in float32, once in 2^17 draws for the bright levels.
    pixels = torch.full((4, 2**19), level, dtype=torch.uint8)
    x = dequantise(pixels, row_seeds(3, 4), torch.zeros(4, dtype=torch.int64))
    assert int(((x.double() * 256).floor() != level).sum()) == 0


def test_dequantisation_differs_from_step_to_step_and_row_to_row() -> None:
    pixels = torch.zeros(2, 9, dtype=torch.uint8)
    seed = row_seeds(0, 2)
    one = dequantise(pixels, seed, torch.tensor([0, 0]))
    other = dequantise(pixels, seed, torch.tensor([1, 0]))
    assert not torch.equal(one[0], one[1])
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_levels_survive_the_way_to_the_unit_interval_and_back() -> None:
    x = to_unit(LEVELS)
    assert x.dtype == torch.float32
    assert (x[0].item(), x[255].item()) == (0.0, 1.0)
    assert torch.equal(quantise(x), LEVELS)
    for off in (0.49, -0.49):
        assert torch.equal(quantise(x.double() + off / 255), LEVELS)
    assert quantise(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


def test_an_image_lies_in_the_cell_that_its_likelihood_is_taken_over() -> None:
    x, level = to_unit(LEVELS).double(), LEVELS.double()
    assert bool((x >= level / 256).all())
    assert bool((x <= (level + 1) / 256).all())


def test_kinds_are_plain_words_in_json() -> None:
    assert [str(kind) for kind in Likelihood] == ["exact", "bound", "estimate", "unnormalised"]
