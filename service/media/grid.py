"""Arrays for models of discrete events: put on the grid of values that the model knows."""

import numpy as np

from models.core.bundle.preprocess import Preprocessing
from models.core.contract.grid import Grid

_TOLERANCE = 1e-3
"""Levels by which a value may be moved without a note: JSON and float32 round as well."""


def discretised(
    x: np.ndarray, grid: Grid, preprocessing: Preprocessing | None
) -> tuple[np.ndarray, list[list[str]]]:
    """The nearest values of the grid, and per event a note of what that changed.

    Images for models of black and white become grey levels first and are then drawn as uploads
    are, so that an image has the same bits in either form. Shapes: float32 (B, *event) in the
    range of the grid -> float32 (B, *event), B lists.
    """
    notes: list[list[str]] = [[] for _ in x]
    if preprocessing is None:
        counts = on_grid(x, grid)
        _note(notes, x, counts, grid, _TOLERANCE, "rounded to whole numbers")
        return counts, notes
    if grid.num_levels == 2:
        greys = Grid(256)
        grey = on_grid(x, greys)
        _note(notes, x, grey, greys, _TOLERANCE, "rounded to 256 grey levels")
        bits = on_grid(preprocessing.to_levels((255 * grey).round().astype(np.uint8)) / 255, grid)
        _note(notes, grey, bits, grid, _TOLERANCE, preprocessing.levels_note)
        return bits, notes
    rounded = on_grid(x, grid)
    # Eight bits cannot say the levels of another grid better than this.
    near = _TOLERANCE if grid.num_levels == 256 else _TOLERANCE + 0.5 * (grid.num_levels - 1) / 255
    _note(notes, x, rounded, grid, near, f"rounded to {grid.num_levels} grey levels")
    return rounded, notes


def on_grid(x: np.ndarray, grid: Grid) -> np.ndarray:
    """The nearest values of the grid, the same numbers as `Grid.values` gives.

    In NumPy, for the reason that `arrays.unit` is. Shapes: float32 (B, ...) -> float32 (B, ...).
    """
    step = grid.top / (grid.num_levels - 1)
    return (x / step).round().astype(np.float32) * np.float32(step)


def pixels_of(levels: np.ndarray, num_levels: int) -> np.ndarray:
    """The 8-bit pixels that stand for levels, those that `Preprocessing.to_levels` leaves.

    Shapes: integers (...) -> uint8 (...).
    """
    pixels: np.ndarray = np.round(levels * (255 / (num_levels - 1))).astype(np.uint8)
    return pixels


def _note(
    notes: list[list[str]],
    before: np.ndarray,
    after: np.ndarray,
    grid: Grid,
    tolerance: float,
    text: str,
) -> None:
    """Add the text to the events in which a value was moved by more than so many levels."""
    moved = np.abs(after - before).reshape(len(before), -1).max(1)
    for i in np.flatnonzero(moved * (grid.num_levels - 1) / grid.top > tolerance):
        notes[i].append(text)
