"""Figures and pictures that only some kinds of models have; each model names its own."""

from collections.abc import Callable, Mapping
from typing import Any

from models.core.contract.model import GenerativeModel
from training.data.splits import Split
from training.fit.recipe import Report
from training.measure import latents
from training.measure.inverse_error import inverse_error
from training.measure.log_z import estimate_log_z

_INVERTED = 100  # events whose inverse is compared

_FIGURES: Mapping[str, Callable[[Any, Split, Report], dict[str, float]]] = {
    "log_z": lambda model, _, how: estimate_log_z(model, how.ais_chains, how.ais_steps),
    "inverse_error": lambda model, test, _: inverse_error(model, test.x[:_INVERTED]),
    "latents": lambda model, test, _: latents.figures(model, test),
}
_PICTURES: Mapping[str, Callable[[Any, Split], dict[str, bytes]]] = {"latents": latents.usage}


def own_figures(model: GenerativeModel, test: Split, how: Report) -> dict[str, float]:
    """All figures that `model.own_figures` names; an estimate of log Z is kept in the model."""
    figures: dict[str, float] = {}
    for name in model.own_figures:
        figures |= _FIGURES[name](model, test, how)
    return figures


def own_pictures(model: GenerativeModel, test: Split) -> dict[str, bytes]:
    """PNG files by name, of those among `model.own_figures` that can be drawn."""
    pictures: dict[str, bytes] = {}
    for name in model.own_figures:
        if name in _PICTURES:
            pictures |= _PICTURES[name](model, test)
    return pictures
