"""Simple pictures: in the box, reproducible, smooth, and of several kinds."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.fit.simple_pictures import KINDS, simple_pictures


def pictures(
    num: int = 400, seed: int = 0, event_shape: tuple[int, int, int] = (1, 28, 28)
) -> Tensor:
    """As many, from a seed."""
    return simple_pictures(np.random.default_rng(seed), num, event_shape)


@pytest.mark.parametrize("event_shape", [(1, 28, 28), (3, 8, 8), (1, 5, 12)])
def test_they_are_images_of_the_stated_shape(event_shape: tuple[int, int, int]) -> None:
    x = pictures(50, event_shape=event_shape)
    assert x.shape == (50, *event_shape)
    assert x.dtype == torch.float32
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_a_seed_says_which() -> None:
    assert torch.equal(pictures(20), pictures(20))
    assert not torch.equal(pictures(20), pictures(20, seed=1))
    assert pictures(0).shape == (0, 1, 28, 28)


def test_a_pixel_is_like_its_neighbour_and_not_like_the_opposite_edge() -> None:
    x = pictures()
    step = float((x[..., 1:] - x[..., :-1]).abs().mean())
    across = float((x[..., 0] - x[..., -1]).abs().mean())
    assert step < 0.7 * across
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    assert step < 0.5 * float((noise[..., 1:] - noise[..., :-1]).abs().mean())


def test_constants_are_as_rare_as_stated_and_two_thirds_have_two_levels() -> None:
    x = pictures(2000).flatten(1)
    flat = float((x.std(1) < 1e-6).float().mean())
    # A blot may cover all or nothing, so there are a few more.
    assert KINDS["constant"] - 0.03 < flat < KINDS["constant"] + 0.15
    low, high = x.min(1, keepdim=True).values, x.max(1, keepdim=True).values
    middle = ((x > low + 0.1 * (high - low)) & (x < high - 0.1 * (high - low))).float().mean(1)
    drawn = float(((middle < 0.4) & (x.std(1) > 1e-6)).float().mean())
    assert drawn > 0.8 * (KINDS["blot"] + KINDS["outline"])


def test_many_are_drawn_on_black_as_digits_are() -> None:
    x = pictures(1000).flatten(1)
    assert 0.2 < float((x.median(1).values < 1e-6).float().mean()) < 0.6
