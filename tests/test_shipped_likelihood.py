"""Shipped bundles with a likelihood reach the figures of their cards on real test events."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from torch import Tensor

from models.core.bundle.bundle import Bundle, load
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import Servable
from models.core.diffusion.density import DiffusionModel
from models.core.ood.register import SCORES
from tests.support.shipped import shipped_paths
from training.data.splits import load_test
from training.measure.calibrate import columns, scores

ROOT = Path(__file__).parents[1]
ALPHA = 0.05
SAMPLES = {"mnist": "mnist_test_500.npz", "fashion-mnist": "fashion-mnist_test_1000.npz"}
MOST = 500  # of a stored sample, for the slower models


class Shipped(NamedTuple):
    """A bundle, its model, and test events that it has not seen."""

    bundle: Bundle
    model: Servable
    x: np.ndarray
    whole: bool
    """Whether x is all of the test split."""


def _paths() -> list[Path]:
    """All but energy models, diffusion models and screens: these have tests of their own."""

    def is_rated(path: Path) -> bool:
        model = load(path).build()
        has_none = model.likelihood in (None, Likelihood.UNNORMALISED)
        return not has_none and not isinstance(model, DiffusionModel)

    return [path for path in shipped_paths() if is_rated(path)]


@cache
def shipped(path: Path) -> Shipped:
    """The bundle as the service reads it."""
    bundle = load(path)
    data = path.name.removeprefix(f"{bundle.family}_")
    form = bundle.preprocessing
    for name, file in SAMPLES.items():
        if form is not None and data.startswith(name):
            x = form.to_levels(np.load(ROOT / "tests" / "data" / file)["x"][:MOST])
            return Shipped(bundle, bundle.build(), x, whole=False)
    if form is not None:
        x = load_test(data, height=form.height, width=form.width, levels=form.levels).x
    else:
        table = {"breast-cancer": "breast-cancer-benign"}.get(data, data)
        x = load_test(table).x
    return Shipped(bundle, bundle.build(), x, whole=True)


every_bundle = pytest.mark.parametrize("path", _paths(), ids=lambda path: path.name)


@cache
def log_prob(path: Path) -> Tensor:
    """What /log_likelihood gives by default."""
    found = shipped(path)
    return columns(found.model, "log_likelihood", found.x)["log_prob"].double()


def stated(path: Path, figure: str) -> float:
    """A figure of the card."""
    return shipped(path).bundle.metrics[figure.format(kind=shipped(path).model.likelihood)]


@every_bundle
def test_the_likelihood_is_the_one_of_the_card(path: Path) -> None:
    value, found = log_prob(path), shipped(path)
    card = stated(path, "test_log_likelihood_{kind}_nats")
    # Noise is a function of the event: the whole split gives the very figure again.
    error = 1e-4 * abs(card) if found.whole else 4 * float(value.std()) / math.sqrt(len(value))
    assert float(value.mean()) == pytest.approx(card, abs=error)


@every_bundle
def test_it_beats_independent_values(path: Path) -> None:
    """A model that does not has learnt nothing about what belongs together."""
    if shipped(path).model.grid is None:
        pytest.skip("real vectors have no histogram")
    nats = -stated(path, "test_log_likelihood_{kind}_nats")
    assert nats < stated(path, "independent_values_nats")


@every_bundle
def test_false_alarms_are_as_rare_as_the_calibration_allows(path: Path) -> None:
    found = shipped(path)
    for name, calibration in found.bundle.calibrations.items():
        num, size = len(calibration.scores), len(found.x)
        own = scores(found.model, name, found.x, calibration.reference)
        alarms = int((calibration.p_value(own) <= ALPHA).sum())
        k = math.floor(ALPHA * (num + 1))
        # Given k of N calibration scores above the threshold: Vovk 2012, arXiv:1209.2673.
        low, high = betabinom.interval(0.998, size, k, num + 1 - k)
        assert low <= alarms <= high, name
        assert SCORES[name].operation in found.model.operations()


@every_bundle
def test_samples_are_events_that_the_model_finds_likely(path: Path) -> None:
    """Their own log likelihood is near that of test events, unlike that of uniform noise."""
    found = shipped(path)
    if len(found.model.event_shape) != 3 or found.model.num_dims > 100:
        pytest.skip("large images take long to draw: the sample grid is looked at instead")
    from models.core.contract.noise import row_seeds
    from models.core.contract.operation import run

    operation = found.model.operations()["sample"]
    with torch.no_grad():
        x = run(operation, {"seed": row_seeds(3, 64)}, operation.default_params)["x"]
    drawn = columns(found.model, "log_likelihood", (x * 255).round().byte().numpy())["log_prob"]
    real = log_prob(path)
    noise = np.random.default_rng(0).integers(0, 256, x.shape, dtype=np.uint8)
    strange = columns(found.model, "log_likelihood", noise)["log_prob"]
    assert abs(float(drawn.mean()) - float(real.mean())) < 3 * float(real.std())
    assert float(strange.mean()) < float(real.mean()) - 5 * float(real.std())
