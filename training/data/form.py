"""The size and the colours that a folder's pictures suggest for a small model."""

import math
from pathlib import Path

import numpy as np

from models.core.bundle.preprocess import Preprocessing
from training.data.copies import upright_size
from training.data.folder import picture_of
from training.data.layout import raw_folder

_SAMPLED = 200
_MOST_SIDE = 32
"""Pixels: what a recipe that ships trains within an hour or two."""
_MULTIPLE = 4
_TINT = 4.0
"""Mean difference of a picture's largest and smallest colour, in levels, from which it has one."""
_COLOURED = 0.1


def form_of(folder: Path) -> tuple[int, int, int]:
    """Height, width and number of channels, from up to 200 pictures all over the folder.

    The size has the median's shape and at most 32 pixels; channels are 3 where more than a tenth
    are coloured. Raises DataError for what is no folder with a folder per class.
    """
    images = raw_folder(folder).images
    rows = np.unique(np.linspace(0, len(images) - 1, _SAMPLED).astype(int))
    paths = [Path(images[row]) for row in rows]
    width, height = np.median([upright_size(path) for path in paths], axis=0).tolist()
    scale = min(1.0, _MOST_SIDE / max(width, height))
    look = Preprocessing(16, 16, 3)
    tints = [np.ptp(picture_of(path, look).astype(float), axis=0).mean() for path in paths]
    coloured = float(np.mean(np.array(tints) > _TINT)) > _COLOURED
    return _side(scale * height), _side(scale * width), 3 if coloured else 1


def _side(pixels: float) -> int:
    """The nearest multiple of four, since networks halve sizes; eight at least."""
    return max(2 * _MULTIPLE, _MULTIPLE * math.floor(pixels / _MULTIPLE + 0.5))
