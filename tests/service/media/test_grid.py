"""Arrays for discrete models: rounded to their grid, with a note of what that changed."""

import numpy as np
import pytest
import torch

from models.core.bundle.preprocess import Preprocessing
from models.core.contract.grid import Grid
from service.media.arrays import unit
from service.media.grid import discretised, on_grid
from tests.support.service.models import images

SHAPE = (1, 4, 4)


def to_levels(num_levels: int) -> tuple[Grid, Preprocessing]:
    """The grid of a model of images, and how its bundle makes them."""
    return Grid(num_levels), Preprocessing(4, 4, levels=num_levels)


def greys(num: int = 3, seed: int = 0) -> np.ndarray:
    """Random uploads. -> uint8 (num, 1, 4, 4)."""
    return np.random.default_rng(seed).integers(0, 256, (num, *SHAPE), dtype=np.uint8)


def through_json(x: np.ndarray) -> np.ndarray:
    """As samples are written."""
    return x.astype(np.float64).round(6).astype(np.float32)


@pytest.mark.parametrize("grid", [Grid(2), Grid(7), Grid(17), Grid(256), Grid(17, 16.0)])
def test_the_numbers_are_those_of_the_grid(grid: Grid) -> None:
    x = grid.top * images(50, SHAPE).numpy()
    expected = grid.values(grid.levels(torch.from_numpy(x))).numpy()
    found = on_grid(x, grid)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("num_levels", [2, 3, 17, 32, 256])
def test_what_lies_on_the_grid_is_left_without_a_note(num_levels: int) -> None:
    grid, form = to_levels(num_levels)
    level = np.arange(5 * 16).reshape(5, *SHAPE) * 7 % num_levels
    x = grid.values(torch.from_numpy(level)).numpy()
    for given in (x, through_json(x)):
        found, notes = discretised(given, grid, form)
        assert np.array_equal(found, x)
        assert notes == [[]] * 5


@pytest.mark.parametrize("num_levels", [3, 17, 32])
def test_eight_bits_of_a_level_mean_that_level(num_levels: int) -> None:
    grid, form = to_levels(num_levels)
    pixels = form.to_levels(greys())
    found, notes = discretised(unit(pixels), grid, form)
    assert notes == [[]] * 3
    assert np.array_equal(found, on_grid(unit(pixels), grid))


def test_each_event_is_told_of_its_own_change() -> None:
    grid, form = to_levels(5)
    x = np.full((4, *SHAPE), 0.25, np.float32)
    x[1, 0, 2, 2] = 0.26
    x[3, 0, 0, 0] = 1 / 3
    found, notes = discretised(x, grid, form)
    assert notes == [[], ["rounded to 5 grey levels"], [], ["rounded to 5 grey levels"]]
    assert np.array_equal(found, np.full_like(found, 0.25))


def test_between_grey_levels_is_noted_only_if_it_shows() -> None:
    grid, form = to_levels(256)
    x = np.full((3, *SHAPE), 100 / 255, np.float32)
    x[1, 0, 0, 0] = 100.0005 / 255
    x[2, 0, 0, 0] = 100.002 / 255
    found, notes = discretised(x, grid, form)
    assert notes == [[], [], ["rounded to 256 grey levels"]]
    assert np.array_equal(found, on_grid(np.full_like(x, 100 / 255), grid))


def test_counts_become_whole_numbers() -> None:
    x = np.array([[0, 16, 3], [0.2, 15.6, 3], [1e-4, 2, 2]], np.float32)
    found, notes = discretised(x, Grid(17, 16.0), None)
    assert found.tolist() == [[0, 16, 3], [0, 16, 3], [0, 2, 2]]
    assert notes == [[], ["rounded to whole numbers"], []]


def test_an_array_gets_the_bits_that_its_picture_gets() -> None:
    grid, form = to_levels(2)
    pixels = greys(4)
    expected = form.to_levels(pixels) / 255
    for x in (unit(pixels), through_json(unit(pixels))):
        bits, notes = discretised(x, grid, form)
        assert np.array_equal(bits, expected)
        assert notes == [[form.levels_note]] * 4
        for i in range(4):
            assert np.array_equal(discretised(x[i : i + 1], grid, form)[0][0], bits[i])


def test_floats_become_grey_levels_before_they_are_drawn() -> None:
    grid, form = to_levels(2)
    x = unit(greys(1))
    between = np.clip(x + 0.3 / 255, 0, 1).astype(np.float32)
    bits, notes = discretised(between, grid, form)
    assert np.array_equal(bits, discretised(x, grid, form)[0])
    assert notes == [["rounded to 256 grey levels", form.levels_note]]
