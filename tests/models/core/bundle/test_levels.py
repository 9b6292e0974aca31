"""Grey levels are reduced evenly, and black and white are drawn once and for all."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from models.core.bundle.preprocess import Preprocessing


def greys(num: int, seed: int = 0, size: int = 4) -> np.ndarray:
    """Random images. -> uint8 (num, 1, size, size)."""
    return np.random.default_rng(seed).integers(0, 256, (num, 1, size, size), dtype=np.uint8)


def binary(size: int = 4) -> Preprocessing:
    """Two levels."""
    return Preprocessing(size, size, levels=2)


def test_all_256_levels_are_left_alone() -> None:
    pixels = greys(3)
    assert Preprocessing(4, 4).to_levels(pixels) is pixels


@pytest.mark.parametrize("levels", [3, 4, 8, 16, 100, 255])
def test_the_nearest_of_evenly_spaced_levels(levels: int) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    found = Preprocessing(16, 16, levels=levels).to_levels(every)
    exact = np.arange(levels) * 255 / (levels - 1)
    assert np.unique(found).tolist() == exact.round().astype(int).tolist()
    nearest = np.abs(np.arange(256)[:, None] - exact).min(1)
    assert (np.abs(found.ravel().astype(float) - np.arange(256)) <= nearest + 0.5).all()
    assert np.array_equal(Preprocessing(16, 16, levels=levels).to_levels(found), found)


def test_white_comes_with_the_probability_of_its_grey() -> None:
    # Distinct images of one grey in all pixels but the last two, which tell them apart.
    pixels = np.full((4000, 1, 6, 6), 64, np.uint8)
    pixels[:, 0, 5, 4], pixels[:, 0, 5, 5] = np.arange(4000) // 256, np.arange(4000) % 256
    bits = binary(6).to_levels(pixels)
    assert set(np.unique(bits)) == {0, 255}
    share = (bits[:, 0] == 255).mean(0)
    error = (0.251 * 0.749 / 4000) ** 0.5
    assert np.abs(share.ravel()[:34] - 64 / 255).max() < 5 * error
    # Neighbours must not be drawn together, in one image or from one image to the next.
    flat = bits.reshape(4000, -1)[:, :34].astype(float)
    away = np.corrcoef(flat.T) - np.eye(34)
    assert np.abs(away).max() < 6 / 4000**0.5
    assert abs(np.corrcoef(flat[1:].ravel(), flat[:-1].ravel())[0, 1]) < 5 / flat.size**0.5


def test_black_and_white_stay_as_they_are() -> None:
    pixels = np.where(greys(50) > 127, 255, 0).astype(np.uint8)
    assert np.array_equal(binary().to_levels(pixels), pixels)
    _, notes = binary().apply(Image.fromarray(pixels[0, 0]))
    assert notes == ()


def test_an_image_has_its_own_bits_in_any_company() -> None:
    pixels = greys(5000)  # more than are drawn at once
    bits = binary().to_levels(pixels)
    for i in (0, 1, 4095, 4096, 4999):
        assert np.array_equal(binary().to_levels(pixels[i : i + 1])[0], bits[i])
    assert np.array_equal(binary().to_levels(pixels[::-1]), bits[::-1])
    assert binary().to_levels(pixels[:0]).shape == (0, 1, 4, 4)


def test_the_bits_never_change() -> None:
    """Figures of shipped bundles are about these very bits."""
    pixels = (np.arange(3 * 64) * 7 % 256).astype(np.uint8).reshape(3, 1, 8, 8)
    bits = binary(8).to_levels(pixels)
    digest = hashlib.sha256(np.packbits(bits > 0).tobytes()).hexdigest()
    assert digest[:16] == "e1ee993dff141727"


def test_one_pixel_of_difference_gives_other_noise() -> None:
    pixels = np.full((2, 1, 8, 8), 128, np.uint8)
    pixels[1, 0, 0, 0] = 129
    bits = binary(8).to_levels(pixels)
    assert not np.array_equal(bits[0], bits[1])


def test_an_upload_goes_the_way_of_the_training_data() -> None:
    pixels = greys(1)
    for levels, start in ((2, "binarised"), (8, "rounded to 8 grey levels")):
        to = Preprocessing(4, 4, levels=levels)
        found, notes = to.apply(Image.fromarray(pixels[0, 0]))
        assert np.array_equal(found, to.to_levels(pixels)[0])
        assert len(notes) == 1
        assert notes[0].startswith(start)
        assert found.flags.c_contiguous


def test_the_levels_are_reduced_after_everything_else() -> None:
    image = Image.fromarray(greys(1, size=8)[0, 0])
    grey, before = Preprocessing(4, 4, invert=True).apply(image)
    to = Preprocessing(4, 4, invert=True, levels=2)
    bits, notes = to.apply(image)
    assert np.array_equal(bits, to.to_levels(grey[None])[0])
    assert notes[:-1] == before


def test_colours_are_reduced_channel_by_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    found, _ = Preprocessing(4, 4, channels=3, levels=2).apply(Image.fromarray(pixels))
    assert set(np.unique(found)) == {0, 255}
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("levels", [0, 1, 257])
def test_impossible_levels_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match="accepted are 2 to 256"):
        Preprocessing(4, 4, levels=levels)


def test_what_is_given_is_not_changed() -> None:
    pixels = greys(3)
    pixels.flags.writeable = False
    before = pixels.copy()
    for levels in (2, 5):
        Preprocessing(4, 4, levels=levels).to_levels(pixels)
    assert np.array_equal(pixels, before)
