"""Trivial scores see what they are named for, and nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

from training.measure.trivial_scores import NUM_NEIGHBOURS, TRIVIAL, Baselines, file_bytes


def flat(*levels: int, channels: int = 1) -> np.ndarray:
    """Images of one level each."""
    ones = np.ones((len(levels), channels, 8, 8), np.uint8)
    return ones * np.array(levels, np.uint8)[:, None, None, None]


def test_every_definition_has_a_score() -> None:
    found = Baselines.fit(flat(1, 2, 3)).scores(flat(7, 8))
    assert list(found) == list(TRIVIAL)
    assert {values.shape for values in found.values()} == {(2,)}


def test_brightness_and_its_distance_from_the_median() -> None:
    found = Baselines.fit(flat(10, 20, 90)).scores(flat(5, 20, 35))
    np.testing.assert_allclose(found["bright"], [5, 20, 35])
    np.testing.assert_allclose(found["unusual_brightness"], [15, 0, 15])


def test_the_share_of_pixels_that_are_not_zero() -> None:
    half = flat(1, 1, 0)
    half[0, :, :4] = 0
    found = Baselines.fit(half).scores(half)
    np.testing.assert_allclose(found["nonzero"], [0.5, 1, 0])
    np.testing.assert_allclose(found["unusual_nonzero"], [0, 0.5, 0.5])


@pytest.mark.parametrize("channels", [1, 3])
def test_files_are_those_that_pillow_writes(channels: int) -> None:
    noise = np.random.RandomState(0).randint(0, 256, (1, channels, 8, 8)).astype(np.uint8)
    file = io.BytesIO()
    picture = noise[0, 0] if channels == 1 else noise[0].transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", optimize=True)
    assert file_bytes(noise) == [len(file.getvalue())]
    black = flat(0, channels=channels)
    found = Baselines.fit(noise).scores(np.concatenate([noise, black]))
    assert found["small_file"][0] < found["small_file"][1]
    np.testing.assert_allclose(found["small_file"], -file_bytes(np.concatenate([noise, black])))
    gap = file_bytes(noise) - file_bytes(black)
    np.testing.assert_allclose(found["unusual_file"], [0, *gap])


def test_the_nearest_training_image_is_found() -> None:
    found = Baselines.fit(flat(10, 100)).scores(flat(12, 96, 100))
    np.testing.assert_allclose(found["nearest"], [2, 4, 0], atol=1e-3)


def test_so_many_training_images_are_compared() -> None:
    train = flat(*[0] * NUM_NEIGHBOURS, 200)
    assert Baselines.fit(train).scores(flat(200))["nearest"] == pytest.approx(200)
