"""The values of discrete events, and how greys become black and white."""

import pytest
import torch

from models.core.contract.grid import Grid, binarise, grid_of


@pytest.mark.parametrize("grid", [Grid(2), Grid(17), Grid(256), Grid(17, 16.0), Grid(3, 0.5)])
def test_levels_and_values_undo_each_other(grid: Grid) -> None:
    levels = torch.arange(grid.num_levels)
    values = grid.values(levels)
    assert values.dtype == torch.float32
    assert values[[0, -1]].tolist() == [0, grid.top]
    assert torch.equal(grid.levels(values), levels)
    spacing = grid.top / (grid.num_levels - 1)
    for offset in (-0.49, 0.49):
        assert torch.equal(grid.levels(values + offset * spacing), levels)


def test_values_beyond_the_ends_are_at_the_ends() -> None:
    assert Grid(5).levels(torch.tensor([-3.0, 1.5])).tolist() == [0, 4]
    assert Grid(5, 4.0).levels(torch.tensor([-3.0, 3.4, 9.0])).tolist() == [0, 3, 4]


def test_images_lie_in_the_unit_box_and_vectors_hold_counts() -> None:
    assert grid_of((1, 4, 4), 17) == Grid(17, 1.0)
    assert grid_of((64,), 17) == Grid(17, 16.0)
    assert grid_of((64,), 0) is None


@pytest.mark.parametrize("num_levels", [1, -2])
def test_one_level_is_refused(num_levels: int) -> None:
    with pytest.raises(ValueError, match="accepted are 0"):
        grid_of((4,), num_levels)


def test_an_image_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted"):
        grid_of((1, 4, 4), 0)


def test_grey_is_white_as_often_as_it_is_bright() -> None:
    pixels = torch.tensor([0, 64, 128, 255], dtype=torch.uint8).repeat(1000, 1)
    u = (torch.arange(1000) + 0.5) / 1000
    white = binarise(pixels, u[:, None])
    assert white.dtype == torch.uint8
    assert (white == 255).logical_or(white == 0).all()
    rate = (white == 255).float().mean(0)
    torch.testing.assert_close(rate, torch.tensor([0, 64, 128, 255]) / 255, atol=1e-3, rtol=0)
