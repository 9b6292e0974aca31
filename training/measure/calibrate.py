"""Scores of held-out images, computed by the very operations that are served."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from models.core.calibration.conformal import Calibration, Reference
from models.core.contract.model import Servable
from models.core.contract.noise import request_seeds
from models.core.contract.operation import run
from models.core.contract.rows import Rows, concat
from models.core.ood.register import SCORES
from training.data.splits import Split, as_events

_BATCH = 250


@torch.no_grad()
def columns(model: Servable, operation: str, x: np.ndarray) -> Rows:
    """The result of an operation with its default params on the events of a split (N, ...)."""
    served = model.operations()[operation]
    return columns_at(model, operation, x, served.default_params)


@torch.no_grad()
def columns_at(
    model: Servable, operation: str, x: np.ndarray, params: Any, batch: int = _BATCH
) -> Rows:
    """The result of an operation with params on the events of a split (N, ...).

    The seeds are those of a request with seed 0.
    """
    served = model.operations()[operation]
    seeds = request_seeds(0, len(x), shared=served.shares_seed)
    parts = []
    for start in track(
        range(0, len(x), batch), operation, transient=True, disable=len(x) < 4 * batch
    ):
        rows = slice(start, start + batch)
        parts.append(run(served, {"seed": seeds[rows], "x": as_events(x[rows])}, params))
    return concat(parts)


def scores(model: Servable, name: str, x: np.ndarray, reference: Reference = 0.0) -> Tensor:
    """One OOD score, higher = stranger. Shapes: (N, ...) -> (N,)."""
    return all_scores(model, {name: reference}, x)[name]


def all_scores(
    model: Servable, references: Mapping[str, Reference], x: np.ndarray
) -> dict[str, Tensor]:
    """Several OOD scores by name, higher = stranger. Shapes: (N, ...) -> (N,) each."""
    rows = _rows(model, references, x)
    return {
        name: SCORES[name].compute(rows[SCORES[name].operation], reference)
        for name, reference in references.items()
    }


def calibrate(
    model: Servable, names: tuple[str, ...], calibration: Split, validation: Split
) -> dict[str, Calibration]:
    """Calibrations by score. The reference comes from the validation split, so that calibration
    images and later ones are scored by the same fixed rule."""
    rows = _rows(model, names, validation.x)
    references = {name: SCORES[name].fitted(rows[SCORES[name].operation]) for name in names}
    held_out = all_scores(model, references, calibration.x)
    return {name: Calibration.fit(held_out[name], references[name]) for name in names}


def _rows(model: Servable, names: Iterable[str], x: np.ndarray) -> dict[str, Rows]:
    """What scores are made of, by operation: each runs once, however many scores share it."""
    operations = dict.fromkeys(SCORES[name].operation for name in names)
    return {operation: columns(model, operation, x) for operation in operations}
