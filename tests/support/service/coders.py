"""Tiny bundles of models that compress: few levels and many, in grey and colour, and counts."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from service.media.grid import pixels_of
from tests.support.models.tiny import events_of, random_model
from tests.support.service.apps import Client
from tests.support.service.pictures import NPY_HEADERS, npy

STREAM_HEADERS = {"content-type": "application/x-likely"}

CODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bits": ("made", {"event_shape": (1, 4, 4)}),
    "grey": ("made", {"event_shape": (1, 4, 5), "num_levels": 17, "output": "categorical"}),
    "deep": (
        "made",
        {"event_shape": (1, 3, 4), "num_levels": 256, "output": "logistic_mixture"},
    ),
    "colour": ("made", {"event_shape": (3, 3, 2), "num_levels": 7, "output": "categorical"}),
    "counts": ("made", {"event_shape": (5,), "num_levels": 4, "output": "categorical"}),
    "lines": ("pixelcnn", {}),
    "whole": ("idf", {"num_levels": 16}),
}
"""Family and config of each model; the first is the default."""
PICTURES = [name for name in CODERS if name != "counts"]


@cache
def coder(name: str) -> GenerativeModel:
    """The model of a bundle, always the same; nobody may change it."""
    which, config = CODERS[name]
    return random_model(which, **config)


def events(name: str, num: int, seed: int = 0) -> torch.Tensor:
    """Drawn by the model itself, but for each fifth one, which is noise. -> (num, *event)."""
    model = coder(name)
    program = model.operations()["sample"]
    with torch.no_grad():
        x = run(program, {"seed": row_seeds(seed, num)}, program.default_params)["x"]
    x[4::5] = events_of(model, num, seed=seed)[4::5]
    return x


def pixels(name: str, num: int, seed: int = 0) -> np.ndarray:
    """The same as 8-bit images. -> uint8 (num, C, H, W)."""
    grid = coder(name).grid
    assert grid is not None
    return pixels_of(grid.levels(events(name, num, seed)).numpy(), grid.num_levels)


def save_coders(folder: Path) -> None:
    """All bundles."""
    for name, (which, config) in CODERS.items():
        model = coder(name)
        shape, grid = model.event_shape, model.grid
        form = None
        if len(shape) == 3 and grid is not None:
            form = Preprocessing(shape[1], shape[2], channels=shape[0], levels=grid.num_levels)
        bundle = Bundle(
            name=name,
            family=which,
            config=asdict(family(which).Config(**config)),
            weights=model.state_dict(),
            preprocessing=form,
        )
        save(bundle, folder / name)


def compressed(client: Client, name: str, num: int, seed: int = 0) -> bytes:
    """A stream of a model's own images."""
    body = npy(pixels(name, num, seed))
    response = client.post(f"/compress?model={name}", content=body, headers=NPY_HEADERS)
    assert response.status_code == 200, response.text
    return response.content
