"""Copies are found however they were saved, and stand on one side of a split, counted once."""

import io
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.data.copies import copies_of, with_copies
from training.data.layout import raw_folder
from training.data.splits import SPLITS, load, split_rows
from training.ood.panel import OwnData
from training.pipeline.recalibrate import recalibrate


def drawing(seed: int, side: int = 64) -> Image.Image:
    """Smooth noise in colour, unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def saved(path: Path, picture: Image.Image, **options: Any) -> Path:
    """The picture in a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def copies(folder: Path) -> list[Path]:
    """Four drawings, and of the second five copies, none of them the same file."""
    picture = drawing(1)
    again = io.BytesIO()
    picture.save(again, "JPEG", quality=90)
    return [
        *(saved(folder / f"{seed}.png", drawing(seed)) for seed in range(4)),
        saved(folder / "same.bmp", picture),
        saved(folder / "saved.jpg", picture, quality=50),
        saved(folder / "twice.jpg", Image.open(again), quality=70),
        saved(folder / "small.png", picture.resize((32, 32), Image.Resampling.LANCZOS)),
        saved(folder / "large.webp", picture.resize((150, 150)), quality=80),
    ]


def test_a_copy_of_any_size_and_quality_is_found_and_nothing_else(tmp_path: Path) -> None:
    assert copies_of(copies(tmp_path)).tolist() == [0, 1, 2, 3, 1, 1, 1, 1, 1]


def test_different_digits_are_no_copies(tmp_path: Path) -> None:
    x = digits().splits["train"].x[:300]
    x = x[np.sort(np.unique(x.reshape(300, -1), axis=0, return_index=True)[1])]
    first = copies_of(write_pictures(tmp_path, x))
    assert (first != np.arange(len(x))).sum() <= 1


def test_flat_pictures_are_copies_of_their_own_grey_alone(tmp_path: Path) -> None:
    levels = (0, 1, 200, 0)
    paths = [saved(tmp_path / f"{i}.png", Image.new("L", (8, 8), v)) for i, v in enumerate(levels)]
    assert copies_of(paths).tolist() == [0, 1, 2, 0]


def folder_with_copies(root: Path) -> Path:
    """120 drawings of two classes, every third of them three times."""
    for i in range(120):
        path = saved(root / ("ab"[i % 2]) / f"{i:03}.png", drawing(i, 48))
        if i % 3 == 0:
            shutil.copy(path, path.with_name(f"copy{i:03}.png"))
            saved(path.with_name(f"small{i:03}.jpg"), drawing(i, 48), quality=85)
    return root


def test_copies_are_in_one_split_and_count_once_outside_train(tmp_path: Path) -> None:
    raw = with_copies(raw_folder(folder_with_copies(tmp_path / "set")))
    assert raw.copies is not None
    assert len(np.unique(raw.copies)) == 120
    assert len(raw.y) == 200
    rows = split_rows(raw, "set")
    originals = {name: raw.copies[rows[name]] for name in SPLITS}
    for one, other in combinations(SPLITS, 2):
        assert not set(originals[one]) & set(originals[other])
    for name in SPLITS[1:]:
        assert len(set(originals[name])) == len(rows[name])
    assert sum(len(set(originals[name])) for name in SPLITS) == 120
    data = load(str(tmp_path / "set"), height=8, width=8)
    assert "80 of 200 images are copies of others" in data.split_rule
    own = OwnData(str(tmp_path / "set"), Preprocessing(8, 8))
    for name in SPLITS:
        assert len(own.split(name, 0)) == len(data.splits[name]) == len(rows[name])


def test_of_official_parts_a_copy_is_tested_alone(tmp_path: Path) -> None:
    for i in range(40):
        saved(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", drawing(i))
    for part, seeds in (("val", (3, 50, 51)), ("test", (3, 4, 60, 61, 61))):
        for place, seed in enumerate(seeds):
            saved(tmp_path / part / "a" / f"{place}.jpg", drawing(seed), quality=80)
    raw = with_copies(raw_folder(tmp_path))
    assert raw.copies is not None
    rows = split_rows(raw, "set")
    assert [len(rows[name]) for name in SPLITS] == [35, 2, 3, 4]
    for one, other in combinations(SPLITS, 2):
        assert not set(raw.copies[rows[one]]) & set(raw.copies[rows[other]])


@pytest.mark.parametrize("again", [1, 3])
def test_calibration_counts_a_picture_once_and_says_so(tmp_path: Path, again: int) -> None:
    for i in range(200):
        for copy in range(again):
            saved(tmp_path / "mine" / f"{i:03}-{copy}.png", drawing(i, 24))
    found = recalibrate(plain_bundle(), tmp_path / "mine")
    assert found.calibration_source == "100 images of the folder mine"
    assert f"; {200 * (again - 1):,} copies" in found.provenance["recalibrated_on"]
