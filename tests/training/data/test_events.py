"""Tables, counts and images of few levels become events."""

import numpy as np
import pytest

from training.data.readers import DataError
from training.data.splits import SPLITS, as_events, load, load_test


def test_a_table_is_rows_of_numbers_with_names() -> None:
    data = load("breast-cancer-benign")
    whole = np.concatenate([data.splits[name].x for name in SPLITS])
    assert whole.shape == (357, 30)
    assert whole.dtype == np.float32
    assert len(np.unique(whole, axis=0)) == 357, "no row is in two splits"
    assert len(data.feature_names) == 30
    assert data.feature_names[0] == "mean radius"
    np.testing.assert_array_equal(load_test("breast-cancer-benign").x, data.splits["test"].x)
    others = load("breast-cancer-malignant")
    assert sum(len(split) for split in others.splits.values()) == 212


def test_digits_are_the_same_as_images_and_as_counts() -> None:
    images, counts = load("digits", height=8, width=8, levels=17), load("digits-64")
    for name in SPLITS:
        levels = np.rint(images.splits[name].x / (255 / 16)).reshape(-1, 64)
        np.testing.assert_array_equal(levels, counts.splits[name].x)
        np.testing.assert_array_equal(images.splits[name].y, counts.splits[name].y)


def test_images_need_a_size_and_tables_have_none() -> None:
    with pytest.raises(DataError, match="needs a height"):
        load("digits")
    with pytest.raises(DataError, match="no height"):
        load("digits-64", height=8, width=8)


def test_few_levels_are_a_matter_of_the_recipe() -> None:
    usual, binary = (load_test("digits", height=8, width=8, levels=n).x for n in (256, 2))
    assert set(np.unique(binary)) == {0, 255}
    assert abs(float(binary.mean()) - float(usual.mean())) < 3, "white as often as the grey says"
    few = load_test("digits", height=8, width=8, levels=2, limit=5).x
    np.testing.assert_array_equal(binary[:5], few)


def test_events_are_what_models_take() -> None:
    images = as_events(np.full((2, 1, 2, 2), 51, np.uint8))
    assert images.unique().tolist() == pytest.approx([0.2])
    rows = as_events(np.array([[300.0, -1.0]], np.float32))
    assert rows.tolist() == [[300.0, -1.0]]
