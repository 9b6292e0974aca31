"""A screen from images: fitted on one half, calibrated on the other, by what will serve it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from models.core.bundle.bundle import Bundle
from models.core.bundle.onnx import served
from models.core.calibration.group import z_covariance
from models.core.screen.model import Screen
from tests.support.models.screens import as_bundle, pictures, tiny_screen
from training.pipeline.make_screen import halves, looked_at, recalibrated, screened
from training.pipeline.screen_recipe import screen_recipe, screen_recipes
from training.report.screen_card import screen_card


def images(num: int, seed: int) -> np.ndarray:
    """Random images. -> uint8 (num, 1, 8, 8)."""
    found: np.ndarray = (pictures(num, seed) * 255).round().byte().numpy()
    return found


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A tiny screen calibrated on 200 and 400 images."""
    whole = as_bundle(tiny_screen(), class_names=("a", "b", "c"), provenance={"dataset": "noise"})
    return recalibrated(whole, images(100, seed=11), images(200, seed=12))


def test_fresh_images_raise_as_many_false_alarms_as_allowed(bundle: Bundle) -> None:
    p_value = bundle.calibrations["screen"].p_value(
        screened(served(bundle), images(300, seed=13))["score"]
    )
    alarms = int((p_value <= 0.1).sum())
    low, high = stats.betabinom(300, 20, 201 - 20).ppf([0.001, 0.999])
    assert low <= alarms <= high


def test_strangers_are_caught(bundle: Bundle) -> None:
    strange = np.full((3, 1, 8, 8), 200, np.uint8)  # a short code, to a model that knows noise
    p_value = bundle.calibrations["screen"].p_value(screened(served(bundle), strange)["score"])
    assert float(p_value.max()) <= 2 / 201


def test_each_half_has_its_own_say(bundle: Bundle) -> None:
    again = recalibrated(bundle, images(100, seed=11), images(150, seed=99))
    for name, weight in bundle.weights.items():
        assert torch.equal(again.weights[name], weight), "the second half fits nothing"
    calibration = again.calibrations["screen"]
    assert len(calibration.scores) == 150
    other = recalibrated(bundle, images(100, seed=98), images(200, seed=12))
    assert not torch.equal(other.weights["knots"], bundle.weights["knots"])
    assert all(torch.equal(other.weights[n], w) for n, w in bundle.weights.items() if "parts." in n)


def test_calibration_keeps_what_the_guarantees_need(bundle: Bundle) -> None:
    screen, calibration = served(bundle), bundle.calibrations["screen"]
    assert isinstance(screen, Screen)
    found = screened(screen, images(200, seed=12))
    order = found["score"].argsort(stable=True)
    assert calibration.z is not None
    assert calibration.category is not None
    assert torch.equal(calibration.scores, found["score"][order])
    assert torch.equal(calibration.z, found["z"][order])
    assert torch.equal(calibration.category, found["category"][order])
    z = screen.z_values(screen.raw_scores(looked_at(screen, images(100, seed=11))))
    expected = z_covariance(z)
    assert isinstance(calibration.reference, torch.Tensor)
    torch.testing.assert_close(calibration.reference, expected)
    # Of the images that they were fitted to, z-values are the normal quantiles of their ranks.
    top = float(stats.norm.ppf(1 - 0.5 / 100))
    without_ties = [n for n, name in enumerate(screen.score_names) if name != "scale_ratio"]
    for column in z[:, without_ties].unbind(1):
        assert float(column.max()) == pytest.approx(top, abs=1e-3)
        assert float(column.median()) == pytest.approx(0, abs=0.03)


def test_too_few_images_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="50 or more"):
        recalibrated(bundle, images(49, seed=1), images(100, seed=2))


def test_the_halves_are_disjoint_and_the_first_met_the_choice_of_weights() -> None:
    validation, calibration = np.arange(100)[:, None], np.arange(100, 250)[:, None]
    first, second = halves(validation, calibration, most=30)
    assert first[:, 0].tolist() == list(range(30))
    assert second[:, 0].tolist() == list(range(30, 250))
    first, second = halves(validation, calibration)
    assert (len(first), len(second)) == (100, 150)


def test_the_card_says_what_looks_and_what_is_promised(bundle: Bundle) -> None:
    whole = replace(bundle, metrics={"rate": 0.05}, calibration_source="400 pictures of noise")
    text = screen_card(whole, "noise")
    for said in ("`ic`", "position against local", "`pixelcnn`", "400 pictures of noise", "0.05"):
        assert said in text


def test_every_screen_recipe_names_parts_that_there_are() -> None:
    assert "screen_fashion-mnist" in screen_recipes()
    for name in screen_recipes():
        found = screen_recipe(name)
        assert found.base.dataset
        assert found.classifier in (*found.parts, "")
        for component in found.components:
            assert component.part in found.parts
            assert component.background in (*found.parts, "")
    with pytest.raises(ValueError, match="accepted are screen_"):
        screen_recipe("screen_of-nothing")
