"""The screens that ship keep their promise on real test images, and catch real strangers."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from sklearn.metrics import roc_auc_score

from models.core.bundle.bundle import Bundle, load
from models.core.bundle.onnx import served
from models.core.contract.rows import Rows
from models.core.screen.model import Screen
from tests.support.models.cases import rows_at
from tests.support.shipped import shipped_paths
from training.pipeline.make_screen import screened

ROOT = Path(__file__).parents[1]
SCREENS = shipped_paths("screen_")
SAMPLES = {
    "fashion-mnist": "fashion-mnist_test_1000",
    "mnist": "mnist_test_500",
    "fraktur-glyphs": "fraktur-glyphs_test_200",
}
MOST = 200


class Shipped(NamedTuple):
    """A screen, real test images of its own kind, and what it says of them."""

    bundle: Bundle
    screen: Screen
    x: np.ndarray
    rows: Rows


def images(name: str) -> np.ndarray:
    """Stored test images. -> uint8 (N, 1, H, W)."""
    found: np.ndarray = np.load(ROOT / "tests" / "data" / f"{SAMPLES[name]}.npz")["x"][:MOST]
    return found.reshape(len(found), 1, *found.shape[-2:])


@cache
def shipped(name: str) -> Shipped:
    """The screen of a data set as the service runs it."""
    bundle = load(ROOT / "bundles" / f"screen_{name}")
    screen = served(bundle)
    assert isinstance(screen, Screen)
    x = images(name)
    return Shipped(bundle, screen, x, screened(screen, x))


@pytest.mark.parametrize("path", SCREENS, ids=lambda path: path.name)
def test_a_screen_is_calibrated_and_reported_on(path: Path) -> None:
    bundle = load(path)
    assert bundle.kind == "screen"
    assert list(bundle.calibrations) == ["screen"]
    assert (path / "report" / "ood.md").exists()
    assert (path / "report" / "ood.html").exists()


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_no_more_false_alarms_than_promised(name: str, alpha: float) -> None:
    found = shipped(name)
    calibration = found.bundle.calibrations["screen"]
    alarms = int((calibration.p_value(found.rows["score"]) <= alpha).sum())
    rank = calibration.rank(alpha)
    most = betabinom(len(found.x), rank, calibration.num + 1 - rank).ppf(0.999)
    assert alarms <= most


def test_digits_are_no_garments_and_garments_no_digits() -> None:
    for own, other, least in (("fashion-mnist", "mnist", 0.99), ("mnist", "fashion-mnist", 0.999)):
        found = shipped(own)
        strange = screened(found.screen, images(other))
        truth = np.repeat([0, 1], [len(found.x), len(strange["score"])])
        scores = torch.cat([found.rows["score"], strange["score"]]).numpy()
        assert roc_auc_score(truth, scores) >= least


def test_an_image_has_the_same_p_value_bit_for_bit_alone_and_in_a_batch() -> None:
    _, screen, x, rows = shipped("fashion-mnist")
    for start, size in ((0, 1), (3, 5), (40, 17)):
        again = screened(screen, x[start : start + size])
        for name, values in rows_at(rows, slice(start, start + size)).items():
            assert torch.equal(again[name], values), name


def test_torch_and_onnx_raise_the_same_alarms() -> None:
    bundle, _, x, rows = shipped("fashion-mnist")
    in_torch = screened(bundle.build(), x[:60])
    calibration = bundle.calibrations["screen"]
    pairs = zip(
        calibration.p_value(rows["score"][:60]), calibration.p_value(in_torch["score"]), strict=True
    )
    assert max(abs(float(a - b)) for a, b in pairs) <= 2e-3
