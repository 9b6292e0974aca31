"""Tiny bundles of models with a likelihood: images of several grids, tables, counts, latents."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from tests.support.models.tiny import events_of, random_model

FEATURES = ("radius", "texture", "perimeter", "area", "smoothness")
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "pixels": ("realnvp", {}),
    "grey": ("realnvp", {"num_levels": 256}),
    "binary": ("realnvp", {"num_levels": 2}),
    "table": ("realnvp", {"event_shape": (5,), "num_levels": 0}),
    "counts": ("realnvp", {"event_shape": (5,), "num_levels": 9}),
    "discrete": ("made", {}),
}
"""Family and config of each model; `discrete` has no latents, `pixels` is the default."""
AUTOENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "vae": ("vae", {}),
    "pixelvae": ("pixelvae", {}),
}
"""Those that reconstruct; `vae` is the default."""


def flow(name: str) -> GenerativeModel:
    """The model of a bundle, always the same."""
    which, config = {**CONFIGS, **AUTOENCODERS}[name]
    return random_model(which, **config)


def alone(name: str, operation: str, columns: Rows, params: Any = None) -> Rows:
    """What `run` gives offline."""
    program = flow(name).operations()[operation]
    with torch.no_grad():
        return run(program, columns, program.default_params if params is None else params)


def shared(num: int, seed: int = 0, **columns: torch.Tensor) -> Rows:
    """Columns whose rows share the seed of the request."""
    return {"seed": torch.full((num,), seed), **columns}


def save_flows(folder: Path, configs: dict[str, tuple[str, dict[str, Any]]] = CONFIGS) -> None:
    """Their bundles, calibrated on random events by both scores of the likelihood."""
    for name, (which, config) in configs.items():
        model = flow(name)
        shape, grid = model.event_shape, model.grid
        levels = grid.num_levels if grid else 256
        log_prob = alone(name, "log_likelihood", shared(99, x=events_of(model, 99, seed=5)))
        nll = -log_prob["log_prob"]
        median = float(-nll.median())
        bundle = Bundle(
            name=name,
            family=which,
            config=asdict(family(which).Config(**config)),
            weights=model.state_dict(),
            preprocessing=Preprocessing(*shape[1:], levels=levels) if len(shape) == 3 else None,
            feature_names=FEATURES if name == "table" else (),
            calibrations={
                "nll": Calibration.fit(nll),
                "typicality": Calibration.fit((nll + median).abs(), median),
            },
            calibration_source="99 random events",
        )
        save(bundle, folder / name)
