"""A calibration on a user's images keeps to two halves, and refuses what promises nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.core.bundle.bundle import load, save
from tests.support.training.ood_bundles import digits, plain_bundle, screen_bundle, write_pictures
from training.data.readers import DataError
from training.measure.calibrate import scores
from training.ood.panel import dataset_of
from training.pipeline.recalibrate import card, num_needed, recalibrate


def folder_of(path: Path, num: int) -> Path:
    """A folder of digits of the train split, two classes of files."""
    x = digits().splits["train"].x[:num]
    write_pictures(path / "mine" / "a", x[::2])
    write_pictures(path / "mine" / "b", x[1::2])
    return path / "mine"


@pytest.mark.parametrize(
    ("alpha", "num"), [(0.05, 200), (0.01, 200), (1 / 101, 200), (0.005, 398), (0.001, 1998)]
)
def test_the_size_that_alpha_needs(alpha: float, num: int) -> None:
    assert num_needed(alpha) == num


@pytest.mark.parametrize("alpha", [0.0, 1.0, -1.0, float("nan")])
def test_an_alpha_that_is_no_rate_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        num_needed(alpha)


def test_one_half_fits_and_the_other_calibrates(tmp_path: Path) -> None:
    bundle, folder = plain_bundle(), folder_of(tmp_path, 301)
    found = recalibrate(bundle, folder, seed=3)
    model, x = bundle.build(), digits().splits["train"].x[:301]
    files = np.concatenate([x[::2], x[1::2]])[np.random.RandomState(3).permutation(301)]
    first, second = files[:150], files[150:]
    reference = float(scores(model, "energy", first).median())
    calibration = found.calibrations["energy_typicality"]
    assert calibration.reference == pytest.approx(reference)
    expected = scores(model, "energy_typicality", second, reference).sort().values
    torch.testing.assert_close(calibration.scores, expected)
    assert list(found.calibrations) == list(bundle.calibrations)
    assert found.name == "tiny-mine"
    assert found.calibration_source == "151 images of the folder mine"
    assert "150 images fit the scores, 151 others" in found.provenance["recalibrated_on"]
    assert all(found.weights[name] is weight for name, weight in bundle.weights.items())
    with pytest.raises(DataError, match="151 images of the folder mine"):
        dataset_of(found)
    again = load(save(found, tmp_path / "bundle", {"README.md": b""}))
    assert again.version != bundle.version
    assert "151 images" in card(again, tuple(again.calibrations))


def test_the_draw_depends_on_the_seed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 200)
    found = [
        recalibrate(plain_bundle(), folder, seed=seed).calibrations["energy"].scores
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_screen_is_fitted_to_the_images(tmp_path: Path) -> None:
    bundle = screen_bundle()
    found = recalibrate(bundle, folder_of(tmp_path, 202), name="mine")
    calibration = found.calibrations["screen"]
    assert len(calibration.scores) == 101
    assert calibration.z is not None
    assert calibration.z.shape == (101, 6)
    assert found.config["num_fitted"] == 101
    # z-values of digits by random images are far off; fitted to digits they are about standard.
    before = bundle.calibrations["screen"].z
    assert before is not None
    assert float(calibration.z.mean(0).abs().max()) < 0.5 < float(before.mean(0).abs().max())


def test_too_few_images_are_refused_with_the_size_needed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 199)
    with pytest.raises(DataError, match=r"199 pictures: alpha 0\.05 needs at least 200"):
        recalibrate(plain_bundle(), folder)
    with pytest.raises(DataError, match="needs at least 1,998"):
        recalibrate(plain_bundle(), folder, alpha=0.001)


def test_copies_do_not_count(tmp_path: Path) -> None:
    x = digits().splits["train"].x[:40]
    write_pictures(tmp_path / "copies", np.concatenate([x] * 6))
    with pytest.raises(DataError, match="different pictures among 240"):
        recalibrate(plain_bundle(), tmp_path / "copies")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 200)
    (folder / "a" / "007.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"007\.png"):
        recalibrate(plain_bundle(), folder)


def test_without_scores_there_is_nothing_to_calibrate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no calibrated score"):
        recalibrate(plain_bundle(calibrations={}), tmp_path)
