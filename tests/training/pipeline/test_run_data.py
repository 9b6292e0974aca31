"""A run goes on with the data that it was begun with, or says which files are others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.training.tiny import small_recipe
from training.data.fingerprint import difference
from training.data.readers import DataError
from training.data.splits import load
from training.fit.recipe import Recipe
from training.pipeline.run_settings import hold


def picture(path: Path, seed: int) -> None:
    """Eight by eight pixels of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty pictures of two classes."""
    for i in range(60):
        picture(tmp_path / "set" / ("ab"[i % 2]) / f"{i:02}.png", i)
    return tmp_path / "set"


def begun(folder: Path) -> tuple[Path, Recipe]:
    """A run on the folder's pictures, and its recipe."""
    recipe = replace(small_recipe("jem"), dataset=str(folder))
    run = folder.parent / "run"
    hold(run, recipe, fingerprint(folder))
    return run, recipe


def fingerprint(folder: Path) -> dict[str, str]:
    """As a training finds it."""
    return dict(load(str(folder), height=8, width=8).fingerprint)


def test_every_picture_is_noted_with_its_split_its_size_and_its_content(folder: Path) -> None:
    noted, splits = fingerprint(folder), load(str(folder), height=8, width=8).splits
    assert len(noted) == 60
    assert sum(line.startswith("train ") for line in noted.values()) == len(splits["train"])
    _, size, digest = noted["a/00.png"].split()
    assert int(size) == (folder / "a" / "00.png").stat().st_size
    assert len(digest) == 64


def test_the_same_pictures_go_on_wherever_the_folder_has_moved(folder: Path) -> None:
    run, recipe = begun(folder)
    hold(run, recipe, fingerprint(folder))
    moved = folder.rename(folder.with_name("elsewhere"))
    hold(run, recipe, fingerprint(moved))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("new", r"1 new \(the first: a/new\.png\)"),
        ("gone", r"1 gone \(the first: b/59\.png\)"),
        ("other", r"1 of other content \(the first: a/00\.png\)"),
        ("class", r"30 new \(the first: c/"),
    ],
)
def test_other_pictures_are_refused_with_what_differs(folder: Path, change: str, said: str) -> None:
    run, recipe = begun(folder)
    if change == "new":
        picture(folder / "a" / "new.png", 99)
    elif change == "gone":
        (folder / "b" / "59.png").unlink()
    elif change == "other":
        picture(folder / "a" / "00.png", 99)
    else:
        for i in range(30):
            picture(folder / "c" / f"{i}.png", 200 + i)
    for _ in range(2):  # a refusal changes nothing
        with pytest.raises(DataError, match=rf"run with other data: .*{said}.*use --runs"):
            hold(run, recipe, fingerprint(folder))


def test_pictures_that_would_change_their_split_are_told(folder: Path) -> None:
    before = fingerprint(folder)
    name = next(name for name, line in before.items() if line.startswith("train "))
    now = {**before, name: before[name].replace("train", "test")}
    assert difference(before, now) == f"1 in another split (the first: {name})"
    assert difference(before, dict(reversed(before.items()))) == ""


def test_a_run_that_did_not_note_its_data_goes_on_with_a_named_set_alone(folder: Path) -> None:
    run, recipe = begun(folder)
    (run / "data.json").unlink()
    with pytest.raises(DataError, match="earlier version"):
        hold(run, recipe, fingerprint(folder))
    named = small_recipe("jem")
    hold(folder.parent / "named", named, {})
    (folder.parent / "named" / "data.json").unlink()
    hold(folder.parent / "named", named, {})
