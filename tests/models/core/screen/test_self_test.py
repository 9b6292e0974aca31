"""Known images notice when a library or a constant makes other scores than were calibrated."""

import zlib
from typing import Any

import numpy as np
import pytest
import torch

from models.core.bundle.bundle import Bundle
from models.core.bundle.onnx import served
from models.core.derived import png_length
from models.core.diffusion import denoise
from models.core.screen import self_test
from models.core.screen.self_test import verify
from service.catalog.loaded import shelve
from tests.support.models.screens import as_bundle, pictures, tiny_screen
from training.pipeline.make_screen import recalibrated


def images(num: int, seed: int) -> np.ndarray:
    """Random images. -> uint8 (num, 1, 8, 8)."""
    found: np.ndarray = (pictures(num, seed) * 255).round().byte().numpy()
    return found


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """A tiny screen that is calibrated."""
    return recalibrated(as_bundle(tiny_screen()), images(100, seed=11), images(60, seed=12))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 56, 56)])
def test_known_images_are_different_pictures_that_depend_on_the_shape_alone(
    shape: tuple[int, ...],
) -> None:
    found = self_test.pictures(shape)
    torch.manual_seed(1)
    assert torch.equal(found, self_test.pictures(shape))
    assert found.shape == (4, *shape)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    pixels = (found * 255).round().byte()
    lengths = png_length.code_bits(pixels).tolist()
    assert len(set(lengths)) == 4
    assert max(lengths) < 8 * found[0].numel(), "a code has something to find in all of them"


def test_what_was_calibrated_here_is_taken(bundle: Bundle) -> None:
    assert bool(bundle.weights["witnessed"].any())
    assert shelve(bundle).describe().is_screen
    served(bundle)


def test_another_zlib_is_noticed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def weaker(_level: int, method: int, window: int) -> Any:
        return zlib.compressobj(1, method, window, 8, zlib.Z_HUFFMAN_ONLY)

    stand_in = type("zlib", (), {**vars(zlib), "compressobj": staticmethod(weaker)})
    monkeypatch.setattr(png_length, "zlib", stand_in)
    with pytest.raises(ValueError, match=r"score (ic|scale_ratio) gives z .* calibrate the bundle"):
        shelve(bundle)
    again = recalibrated(bundle, images(100, seed=11), images(60, seed=12))
    assert shelve(again).describe().is_screen


def test_other_levels_of_noise_are_noticed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoise, "LARGEST_SIGMA", 0.8)
    with pytest.raises(ValueError, match="score denoising gives z"):
        served(bundle)


def test_a_screen_that_was_never_fitted_has_nothing_to_compare() -> None:
    fresh = as_bundle(tiny_screen())
    assert not bool(fresh.weights["witnessed"].any())
    assert shelve(fresh).describe().is_screen


def test_the_farthest_score_is_named_and_what_is_no_number_is_farthest() -> None:
    expected = torch.tensor([[1.0, 2.0], [50.0, -3.0], [0.0, 0.0], [0.0, 0.0]])
    verify(expected * 1.01, expected, ("a", "b"))
    verify(expected + 0.019, expected, ("a", "b"))
    wrong = expected.clone()
    wrong[0, 0] += 0.1
    wrong[1, 1] -= 0.3
    with pytest.raises(ValueError, match=r"score b gives z -3\.300 where it gave -3\.000"):
        verify(wrong.double(), expected.double(), ("a", "b"))
    wrong[2, 0] = torch.nan
    with pytest.raises(ValueError, match="score a gives z nan"):
        verify(wrong, expected, ("a", "b"))
