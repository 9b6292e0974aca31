"""A data set and a recipe so small that training takes a second."""

from typing import Any

import numpy as np
import pytest
import torch

from models.core.contract.families import family
from models.core.energy.model import EnergyModel
from training.data.splits import Split
from training.fit.contrastive import Contrastive
from training.fit.recipe import Recipe

LIGHTNING = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint:UserWarning"),
    pytest.mark.filterwarnings("ignore:The number of training batches:UserWarning"),
]
"""What the trainer's library warns of on its own account, or where we know better."""


def blobs(num: int, seed: int = 0, num_classes: int = 2) -> Split:
    """A bright spot on a dark ground, at the left for class 0 and at the right for the last."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(num) % num_classes)
    centre = np.stack([rng.normal(3.5, 0.4, num), 1.5 + 4 * y / max(num_classes - 1, 1)], 1)
    down, right = np.mgrid[0:8, 0:8]
    distance = (down - centre[:, 0, None, None]) ** 2 + (right - centre[:, 1, None, None]) ** 2
    x = 230 * np.exp(-distance / 3) + rng.uniform(0, 12, (num, 8, 8))
    return Split(x.astype(np.uint8)[:, None], y.astype(np.int64))


def new_model(name: str = "ebm", seed: int = 0, **config: Any) -> EnergyModel:
    """An untrained tiny model; with labels it has two classes."""
    module = family(name)
    if name == "jem":
        config = {"num_classes": 2, **config}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = module.Model(module.Config(**{"step_size": 0.1, **config}))
    assert isinstance(model, EnergyModel)
    return model


def small_recipe(name: str = "ebm", **changes: Any) -> Recipe:
    """Twenty steps with a checkpoint every five."""
    settings: dict[str, Any] = {
        "contrastive_steps": 20,
        "batch_size": 8,
        "labelled_batch_size": 8,
        "num_langevin": 2,
        "buffer_size": 16,
        "rate": 1e-3,
    }
    recipe: dict[str, Any] = {
        "family": name,
        "config": new_model(name).config,
        "dataset": "digits",
        "height": 8,
        "width": 8,
        "objective": Contrastive,
        "objective_settings": settings,
        "ema_decay": 0.9,
        "checkpoint_every": 5,
    }
    return Recipe(**{**recipe, **changes})
