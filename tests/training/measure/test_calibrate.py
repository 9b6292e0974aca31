"""Offline scores are those that are served, and no split does another's work."""

import numpy as np
import pytest
import torch
from scipy import stats

from models.core.contract.grid import to_unit
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.ood.register import SCORES
from tests.support.models.tiny import random_energy_model
from training.data.splits import Split
from training.measure.calibrate import calibrate, columns, scores

_OWN = [
    name
    for name, score in SCORES.items()
    if not score.needs_background and score.operation in random_energy_model().operations()
]
"""Scores of the tiny model here."""


def pictures(num: int, seed: int, brightest: int = 256) -> Split:
    """Random images."""
    x = np.random.default_rng(seed).integers(0, brightest, (num, 1, 8, 8), dtype=np.uint8)
    return Split(x, np.zeros(num, np.int64))


def test_offline_and_served_scores_are_one() -> None:
    model = random_energy_model()
    split = pictures(260, seed=0)  # more than one batch
    references = {
        name: SCORES[name].fitted(columns(model, SCORES[name].operation, split.x[:100]))
        for name in _OWN
    }
    found = {name: scores(model, name, split.x, references[name]) for name in _OWN}
    for i in (0, 249, 250, 259):
        x = to_unit(torch.from_numpy(split.x[i : i + 1]))
        for name in _OWN:
            score = SCORES[name]
            operation = model.operations()[score.operation]
            rows = run(operation, {"seed": row_seeds(5, 1), "x": x}, operation.default_params)
            served = score.compute(rows, references[name])
            torch.testing.assert_close(found[name][i], served[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("operation", ["energy", "log_likelihood", "classify"])
def test_columns_have_a_row_for_every_image(operation: str) -> None:
    found = columns(random_energy_model(), operation, pictures(251, seed=0).x)
    assert {len(column) for column in found.values()} == {251}
    assert not any(column.requires_grad for column in found.values())


def test_the_reference_is_the_median_of_the_quantity_itself() -> None:
    """Of the energy, which may be negative, not of its distance from some other reference."""
    model = random_energy_model()
    validation, calibration = pictures(101, seed=1), pictures(60, seed=2)
    energy = columns(model, "energy", validation.x)["energy"]
    assert float(energy.median()) < 0, "or this test says nothing"
    found = calibrate(model, ("energy_typicality", "energy"), calibration, validation)
    assert list(found) == ["energy_typicality", "energy"]
    for name in found:
        assert found[name].reference == pytest.approx(float(energy.median()))
    own = columns(model, "energy", calibration.x)["energy"]
    expected = (own - energy.median()).abs().sort().values
    torch.testing.assert_close(found["energy_typicality"].scores, expected)


def test_scores_come_from_the_calibration_split_alone() -> None:
    model = random_energy_model()
    calibration = pictures(60, seed=2)
    found = [
        calibrate(model, ("energy",), calibration, pictures(50, seed, brightest))["energy"]
        for seed, brightest in ((3, 256), (4, 60))
    ]
    expected = scores(model, "energy", calibration.x).sort().values
    for one in found:
        torch.testing.assert_close(one.scores, expected)


@pytest.mark.parametrize("name", _OWN)
def test_fresh_images_of_the_same_kind_raise_as_many_false_alarms_as_allowed(name: str) -> None:
    model = random_energy_model()
    num, fresh = 499, 2000
    found = calibrate(model, (name,), pictures(num, seed=2), pictures(200, seed=1))[name]
    new = scores(model, name, pictures(fresh, seed=3).x, found.reference)
    alpha = 0.1
    alarms = int((found.p_value(new) <= alpha).sum())
    # Given the calibration set the rate is Beta(50, 450): both draws are in this interval.
    low, high = stats.betabinom(fresh, 50, num + 1 - 50).ppf([0.001, 0.999])
    assert low <= alarms <= high
    bright = scores(model, name, np.full((50, 1, 8, 8), 255, np.uint8), found.reference)
    assert float(found.p_value(bright).min()) >= 1 / (num + 1)
