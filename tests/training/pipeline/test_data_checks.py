"""A training that could only end in a refusal does not begin."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.training.tiny import blobs, small_recipe
from training.data.readers import DataError
from training.data.splits import SPLITS, Dataset
from training.pipeline import make
from training.pipeline.data_checks import check_data
from training.pipeline.make import make as make_bundle

SCORED = replace(small_recipe("jem"), ood_scores=("energy",))


def data(num: int, class_names: tuple[str, ...] = ("left", "right")) -> Dataset:
    """A set of which `num` images calibrate."""
    splits = {name: blobs(num, num_classes=len(class_names)) for name in SPLITS}
    return Dataset("tiny", class_names, splits, "drawn", "none")


def test_calibration_needs_nineteen_images_for_its_alpha() -> None:
    check_data(SCORED, data(19))
    with pytest.raises(DataError, match=r"of which 18 calibrate: alpha 0\.05 needs at least 19"):
        check_data(SCORED, data(18))
    check_data(small_recipe("jem"), data(18))


def test_the_numbers_that_are_named_are_enough() -> None:
    with pytest.raises(DataError, match=r"per class 254 images .* 228 in train/"):
        check_data(SCORED, data(18))
    assert 254 * 75 // 1000 == 19 > 253 * 75 // 1000
    assert 228 // 12 == 19


def test_one_class_is_refused_where_classes_are_told_apart() -> None:
    with pytest.raises(DataError, match="has one class, only: a jem"):
        check_data(SCORED, data(30, ("only",)))
    check_data(replace(small_recipe("ebm"), ood_scores=("energy",)), data(30, ("only",)))


def test_nothing_is_trained_of_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "load", lambda *_, **__: data(18))
    with pytest.raises(DataError, match="18 calibrate"):
        make_bundle("small", SCORED, tmp_path / "runs", tmp_path, "")
    assert not list(tmp_path.iterdir())
