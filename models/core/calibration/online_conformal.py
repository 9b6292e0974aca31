"""p-values of a stream that are independent: each image is ranked among all that came before it.

p-values that share a fixed calibration set are not independent: they carry that set's own error, so
that any test that multiplies them without end alarms in the end, whatever comes. Here the images of
the stream join the set as they come. If all are exchangeable, smoothed p-values are then
independent and uniform, exactly (Vovk, Gammerman and Shafer 2005, theorem 8.2).

Scores are not kept, only how many there are in each cell: a value that calibration images have, or
the gap between two. Images in one gap are exchangeable among themselves, so that breaking ties
between them gives the same distribution as their order would.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration
from models.core.contract import noise

_BLOCK = 1024
_HALF_CELL = 2.0**-25  # from [0, 1) in steps of 2^-24 into the open interval


class Ranked(NamedTuple):
    """Images of a stream, in order."""

    cell: np.ndarray
    """(B,) int64: where they fell among the calibration scores, the strangest cell being 0."""
    p_value: np.ndarray
    """(B,) float64 in (0, 1): independent and uniform while images are like the calibration set."""


class OnlineRanks:
    """A calibration set that grows by the images it has judged; the memory does not grow.

    Ties are broken by numbers that depend on `seed` and the place in the stream alone, so that the
    same stream has the same p-values.
    """

    def __init__(self, calibration: Calibration, seed: int = 0) -> None:
        self._seed = seed
        self._values, num = np.unique(calibration.scores.numpy(), return_counts=True)
        self.calibration_counts = np.zeros(2 * len(num) + 1, np.int64)
        """Calibration scores in each cell, of which every second is a gap and has none."""
        self.calibration_counts[1::2] = num[::-1]
        self._stranger = np.concatenate(([0], self.calibration_counts.cumsum()))
        self._num_calibration = calibration.num

    @property
    def num(self) -> int:
        """Images judged."""
        return int(self._stranger[-1]) - self._num_calibration

    def rank(self, scores: Tensor) -> Ranked:
        """Judge images and take them in, one after the other. NaN is strangest. Shape: (B,)."""
        values = scores.float().cpu().numpy()
        values = np.where(np.isnan(values), np.float32(np.inf), values)
        below = self._values.searchsorted(values, side="left")
        at_most = self._values.searchsorted(values, side="right")
        cell = 2 * len(self._values) - below - at_most
        p_value, chances = np.empty(len(cell)), self._uniforms(len(cell))
        stranger = self._stranger
        for i, (index, chance) in enumerate(zip(cell.tolist(), chances.tolist(), strict=True)):
            first, last = stranger[index], stranger[index + 1]
            p_value[i] = (first + chance * (last - first + 1)) / (stranger[-1] + 1)
            stranger[index + 1 :] += 1
        return Ranked(cell, p_value)

    def _uniforms(self, num: int) -> np.ndarray:
        """The next entries of one fixed sequence of numbers in (0, 1)."""
        first, last = self.num // _BLOCK, (self.num + num) // _BLOCK
        blocks = [_block(self._seed, i) for i in range(first, last + 1)]
        return np.concatenate(blocks)[self.num - first * _BLOCK :][:num]


@lru_cache(maxsize=16)
def _block(seed: int, index: int) -> np.ndarray:
    drawn = noise.uniform(torch.tensor([seed]), torch.tensor([index]), (_BLOCK,))
    return drawn[0].double().numpy() + _HALF_CELL
