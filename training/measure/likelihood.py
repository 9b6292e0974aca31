"""Figures of the likelihood on the test split, and the model-free one that it has to beat."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.core.contract.grid import Grid
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from training.data.splits import Split, as_events
from training.fit.recipe import params_of
from training.measure.calibrate import columns_at

_FEW = 1000  # events on which costly figures are taken


def likelihood(
    model: GenerativeModel,
    train: Split,
    test: Split,
    rated_params: Mapping[str, Mapping[str, Any]] | None = None,
    num_rated: int | None = None,
) -> dict[str, float]:
    """Mean log likelihood of the test split in nats, with its standard error, and bits/dim.

    The kind stands in the key: exact, bound (one noise; and the most noises that the operation's
    examples name on the first thousand events), or estimate. With `rated_params` there is a figure
    for each of them instead, its name behind the unit; `num_rated` leaves out later events.
    """
    operation = model.operations()["log_likelihood"]
    examples = operation.examples
    if operation.kind(examples[-1]) == Likelihood.UNNORMALISED:
        return {}
    if operation.kind(examples[0]) == Likelihood.UNNORMALISED:
        return _figures(model, test.x[:_FEW], examples[-1], "")
    x = test.x[:num_rated]
    first = f"_first_{len(x)}" if len(x) < len(test) else ""
    figures: dict[str, float] = {}
    for name, changes in (rated_params or {"": {}}).items():
        suffix = (f"_{name}" if name else "") + first
        figures |= _figures(model, x, params_of(operation, changes), suffix)
    if model.likelihood is Likelihood.BOUND and not rated_params:
        many = type(operation.default_params)(num_samples=64)
        figures |= _figures(model, x[:_FEW], many, f"_64_noises_first_{min(_FEW, len(x))}")
    if model.grid is not None:
        figures["independent_values_nats"] = independent(train, test, model.grid)
    return figures


def _figures(
    model: GenerativeModel, x: np.ndarray, params: object, suffix: str
) -> dict[str, float]:
    kind = model.operations()["log_likelihood"].kind(params)
    log_prob = columns_at(model, "log_likelihood", x, params)["log_prob"].double()
    mean, error = float(log_prob.mean()), float(log_prob.std()) / math.sqrt(len(x))
    figures = {
        f"test_log_likelihood_{kind}_nats{suffix}": mean,
        f"test_log_likelihood_{kind}_nats{suffix}_standard_error": error,
    }
    if len(model.event_shape) == 3 or model.grid:
        bits = -mean / (model.num_dims * math.log(2))
        figures[f"test_bits_per_dim_{kind}{suffix}"] = bits
    return figures


def independent(train: Split, test: Split, grid: Grid) -> float:
    """Mean -log P of the test split if every value were independent: a histogram a value, fitted
    on the train split with one count added to each level. What any model must beat; nats."""
    counted, asked = (grid.levels(as_events(s.x)).flatten(1) for s in (train, test))
    one_hot = torch.zeros(counted.shape[1], grid.num_levels, dtype=torch.float64)
    one_hot += 1
    for level in range(grid.num_levels):
        one_hot[:, level] += (counted == level).sum(0)
    log_prob = (one_hot / one_hot.sum(1, keepdim=True)).log()
    every: Tensor = log_prob.T.gather(0, asked)
    return float(-every.sum(1).mean())
