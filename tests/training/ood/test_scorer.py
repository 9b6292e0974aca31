"""A bundle's scores of images are those of its parts, alone and in company."""

import numpy as np
import pytest

from models.core.screen.model import Screen
from tests.support.training.ood_bundles import digits, plain_bundle, screen_bundle
from training.data.readers import DataError
from training.measure.calibrate import scores
from training.ood.scorer import Scorer


def test_a_screen_shows_what_its_components_find() -> None:
    bundle, x = screen_bundle(), digits().splits["test"].x[:9]
    scorer = Scorer(bundle)
    found, screen = scorer(x), bundle.build()
    assert isinstance(screen, Screen)
    assert scorer.other_names == screen.score_names
    assert list(found.others) == list(screen.score_names)
    alone = scorer(x[4:5])
    assert found.default[4] == alone.default[0]
    for name in screen.score_names:
        assert found.others[name][4] == alone.others[name][0]
    energy = scores(screen.part("classifier"), "energy", x).numpy()
    np.testing.assert_allclose(found.others["energy"], energy, rtol=1e-3, atol=1e-3)


def test_what_cannot_screen_images_says_so() -> None:
    with pytest.raises(DataError, match="no calibration"):
        Scorer(plain_bundle(calibrations={}))
    with pytest.raises(DataError, match="only images"):
        Scorer(plain_bundle(preprocessing=None))
    magic = {"magic": plain_bundle().calibrations["energy"]}
    with pytest.raises(ValueError, match=r"unknown scores \['magic'\]"):
        Scorer(plain_bundle(calibrations=magic))


def test_every_calibrated_score_is_told() -> None:
    bundle, x = plain_bundle(), digits().splits["test"].x[:70]
    found, model = Scorer(bundle)(x), bundle.build()
    for name, values in {"energy": found.default, **found.others}.items():
        reference = bundle.calibrations[name].reference
        expected = scores(model, name, x, reference).numpy()
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    assert set(found.others) == {"energy_typicality"}
    calibration = bundle.calibrations["energy"].scores.numpy()
    rank = (calibration >= found.default[69]).sum()
    assert found.p_value[69] == (1 + rank) / (1 + len(calibration))


def test_one_image_takes_some_time() -> None:
    x = digits().splits["test"].x[:3]
    median, high, busy = Scorer(plain_bundle()).latency_ms(x, repeats=4)
    assert 0 < median <= high
    assert busy > 0
