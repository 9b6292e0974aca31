"""Size and colours of a model come from the folder's pictures, where nobody sets them."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.support.training.tiny import small_recipe
from training.data.form import form_of
from training.fit.recipe import recipe
from training.pipeline import make


def folder_of(root: Path, size: tuple[int, int], mode: str, num_coloured: int = 0) -> Path:
    """Twenty pictures of two classes; some are red."""
    for i in range(20):
        path = root / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i < num_coloured:
            Image.new("RGB", size, (200, i, 0)).save(path)
        else:
            Image.new(mode, size, 90 if mode == "L" else (90, 90, 90)).save(path)
    return root


@pytest.mark.parametrize(
    ("size", "form"),
    [
        ((28, 28), (28, 28)),
        ((640, 480), (24, 32)),
        ((3000, 3000), (32, 32)),
        ((10, 9), (8, 12)),
        ((1000, 1), (8, 32)),
    ],
)
def test_the_size_is_the_pictures_shape_in_at_most_32_pixels(
    tmp_path: Path, size: tuple[int, int], form: tuple[int, int]
) -> None:
    assert form_of(folder_of(tmp_path, size, "L")) == (*form, 1)


def test_colour_is_what_is_seen_not_what_the_file_could_hold(tmp_path: Path) -> None:
    assert form_of(folder_of(tmp_path / "grey", (16, 16), "RGB"))[2] == 1
    assert form_of(folder_of(tmp_path / "one", (16, 16), "RGB", num_coloured=1))[2] == 1
    assert form_of(folder_of(tmp_path / "many", (16, 16), "L", num_coloured=10))[2] == 3


def test_what_is_set_stays(tmp_path: Path) -> None:
    folder = str(folder_of(tmp_path, (20, 16), "L", num_coloured=20))
    own = recipe("jem_folder").changed({"dataset": folder})
    assert make._fitted_to_folder(own).form == {**own.form, "height": 16, "width": 20} | {
        "channels": 3,
        "levels": 256,
    }
    assert make._fitted_to_folder(own.changed({"height": "28"})).form["height"] == 28
    set_ = replace(small_recipe("jem"), dataset=folder)
    assert make._fitted_to_folder(set_) == set_
    assert make._fitted_to_folder(replace(set_, dataset="digits", num_channels=0)).height == 8
