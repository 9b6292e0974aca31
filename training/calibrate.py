"""Scores of held-out images, computed by the very operations that are served."""

import numpy as np
import torch
from torch import Tensor

from models.core.model import GenerativeModel
from models.core.noise import row_seeds
from models.core.ood import SCORES, Calibration
from models.core.operation import Rows, concat, run
from training.data import Split

_BATCH = 250


@torch.no_grad()
def columns(model: GenerativeModel, operation: str, x: np.ndarray) -> Rows:
    """The result of an operation with its default params on uint8 events (N, ...)."""
    found = model.operations()[operation]
    seeds = row_seeds(0, len(x))
    parts = []
    for start in range(0, len(x), _BATCH):
        event = torch.from_numpy(x[start : start + _BATCH]).float() / 255
        inputs = {"seed": seeds[start : start + _BATCH], "x": event}
        parts.append(run(found, inputs, found.default_params))
    return concat(parts)


def scores(model: GenerativeModel, name: str, x: np.ndarray, reference: float = 0.0) -> Tensor:
    """One OOD score, higher = stranger. Shapes: uint8 (N, ...) -> (N,)."""
    score = SCORES[name]
    return score.compute(columns(model, score.operation, x), reference)


def calibrate(
    model: GenerativeModel, names: tuple[str, ...], calibration: Split, validation: Split
) -> dict[str, Calibration]:
    """Calibrations by score. The reference (a median) comes from the validation split, so that
    calibration images and later ones are scored by the same fixed rule."""
    found = {}
    for name in names:
        score = SCORES[name]
        quantity = columns(model, score.operation, validation.x)[score.columns[0]]
        reference = float(quantity.median())
        found[name] = Calibration.fit(scores(model, name, calibration.x, reference), reference)
    return found
