"""Nats, bits per dimension, and the cells that 8-bit pixels fill in the unit box."""

import math

import pytest
import torch

from models.core.contract.grid import quantise, to_unit
from models.core.contract.likelihood import Likelihood, bits_per_dim, log_cell_volume

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
