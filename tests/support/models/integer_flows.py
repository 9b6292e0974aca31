"""Tiny integer flows with random weights, and their likelihood by the way that a coder goes."""

import itertools
from typing import Any

import torch
from torch import Tensor

from models import idf
from models.core.integer.net import Table
from tests.support.models.tiny import random_model

BINARY: dict[str, Any] = {"event_shape": (1, 2, 2), "num_scales": 1, "num_levels": 2}


def model_of(*, seed: int = 0, **config: Any) -> idf.Model:
    found = random_model("idf", seed=seed, **config)
    assert isinstance(found, idf.Model)
    (table,) = [module for module in found.modules() if isinstance(module, Table)]
    table.place.mul_(0.05)
    return found


def combinations(values: range, num_dims: int) -> Tensor:
    """-> float64 (len(values)^D, D)."""
    return torch.tensor(list(itertools.product(values, repeat=num_dims))).double()


def every_image(model: idf.Model) -> Tensor:
    """All images on the model's grid, in float64. -> (num_levels^D, *event)."""
    assert model.grid is not None
    levels = combinations(range(model.grid.num_levels), model.num_dims)
    return model.grid.values(levels).double().view(-1, *model.event_shape)


def sizes(model: idf.Model) -> list[int]:
    return [torch.Size(model.part_shape(index)).numel() for index in range(model.num_parts)]


def by_the_coder_s_way(model: idf.Model, z: Tensor) -> tuple[Tensor, Tensor]:
    """log P and levels by `start`, `prior` and `join`. Shapes: (B, D) -> (B,), (B, *event)."""
    given, total = model.start(len(z)), z.new_zeros(len(z))
    for index, vector in enumerate(z.split(sizes(model), 1)):
        part = vector.view(-1, *model.part_shape(index))
        total = total + model.prior(index, given).log_prob(part).flatten(1).sum(1)
        given = model.join(index, given, part)
    return total, given
