"""Splits are fixed, disjoint and independent of the size asked for; images arrive as stated."""

import hashlib
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.readers import DataError, Raw, raw_npz
from training.data.sources import SOURCES, File, Source
from training.data.splits import SPLITS, load, load_test, split_rows


def counted(num_rows: int, side: int = 12) -> np.ndarray:
    """Images that carry their own row number in every pixel row, uint8 (N, side, side)."""
    numbers = np.arange(num_rows)
    images = np.zeros((num_rows, side, side), np.uint8)
    images[:, : side // 2], images[:, side // 2 :] = (
        (numbers // 200)[:, None, None],
        (numbers % 200)[:, None, None],
    )
    return images


def numbers(x: np.ndarray) -> np.ndarray:
    """The row numbers that `counted` wrote. Shapes: (N, 1, H, W) -> (N,)."""
    return x[:, 0, 0, 0].astype(int) * 200 + x[:, 0, -1, 0]


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A set with an official test part: 240 train and 60 test images, two classes."""
    files = []
    for part, rows in (("train", slice(0, 240)), ("test", slice(240, 300))):
        path = tmp_path / f"{part}.npz"
        np.savez(path, x=counted(300)[rows], y=(np.arange(300) % 2)[rows], classes=["even", "odd"])
        files.append(File(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setenv("LIKELY_DATA", str(tmp_path))
    monkeypatch.setitem(SOURCES, "counted", Source(tuple(files), raw_npz, "made for a test"))
    return "counted"


def make_folder(root: Path, num_images: int = 40) -> Path:
    """Pictures of 8 x 6 in two class folders."""
    for i in range(num_images):
        path = root / ("ab"[i % 2]) / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6), (i, i, i)).save(path)
    return root


def test_an_official_test_part_stays_and_the_rest_is_cut_in_twelfths(named: str) -> None:
    data = load(named, height=12, width=12)
    assert tuple(data.splits) == SPLITS
    assert [len(data.splits[name]) for name in SPLITS] == [200, 20, 20, 60]
    assert set(numbers(data.splits["test"].x)) == set(range(240, 300))
    assert data.class_names == ("even", "odd")
    assert data.source == "made for a test"
    assert "1/12" in data.split_rule


def test_splits_are_disjoint_and_labels_stay_with_their_images(named: str) -> None:
    splits = load(named, height=12, width=12).splits
    for one, other in combinations(SPLITS, 2):
        assert not set(numbers(splits[one].x)) & set(numbers(splits[other].x))
    for split in splits.values():
        np.testing.assert_array_equal(numbers(split.x) % 2, split.y)
        assert split.x.dtype == np.uint8
        assert split.y.dtype == np.int64


def test_splits_do_not_depend_on_the_size_or_the_run(named: str) -> None:
    small, large = (load(named, height=side, width=side) for side in (12, 24))
    for name in SPLITS:
        assert large.splits[name].x.shape[1:] == (1, 24, 24)
        np.testing.assert_array_equal(numbers(small.splits[name].x), numbers(large.splits[name].x))
    assert numbers(small.splits["validation"].x)[:4].tolist() == [86, 16, 17, 213]


def test_load_test_is_the_beginning_of_the_test_split(named: str) -> None:
    whole = load(named, height=12, width=12).splits["test"]
    part = load_test(named, height=12, width=12, limit=7)
    np.testing.assert_array_equal(part.x, whole.x[:7])
    np.testing.assert_array_equal(part.y, whole.y[:7])
    assert len(load_test(named, height=12, width=12)) == 60


def test_inversion_and_colour(named: str) -> None:
    x = load_test(named, height=12, width=12).x
    np.testing.assert_array_equal(load_test(named, height=12, width=12, invert=True).x, 255 - x)
    np.testing.assert_array_equal(
        load_test(named, height=12, width=12, channels=3).x, x.repeat(3, axis=1)
    )


def test_groups_are_never_cut() -> None:
    group = np.arange(1200) // 7
    raw = Raw(counted(1200), np.zeros(1200, np.int64), ("a",), np.arange(1200) >= 960, group)
    rows = split_rows(raw, "lines")
    assert sorted(np.concatenate(list(rows.values()))) == list(range(1200))
    for one, other in combinations(("train", "validation", "calibration"), 2):
        assert not set(group[rows[one]]) & set(group[rows[other]])
    assert all(74 <= len(rows[name]) <= 86 for name in ("validation", "calibration"))


def test_a_folder_is_cut_70_7_7_15_and_converted(tmp_path: Path) -> None:
    data = load(str(make_folder(tmp_path / "pictures")), height=8, width=8, background=200)
    assert [len(data.splits[name]) for name in SPLITS] == [28, 3, 3, 6]
    assert data.name == "pictures"
    assert str(tmp_path) not in data.source
    levels = np.concatenate([split.x[:, 0, 4, 4] for split in data.splits.values()])
    assert sorted(levels) == list(range(40))
    for split in data.splits.values():
        assert (split.x[:, 0, 0] == 200).all()
        np.testing.assert_array_equal(split.x[:, 0, 4, 4] % 2, split.y)


def test_a_corrupt_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    bad = folder / "a" / "010.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(DataError, match=r"a/010\.png"):
        load(str(folder), height=8, width=8)


def test_too_few_images_for_four_splits_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 10 images: none are left for validation"):
        load(str(make_folder(tmp_path, 10)), height=8, width=8)


def test_an_unknown_source_lists_the_named_sets() -> None:
    with pytest.raises(DataError, match=r"no-such-set .*fashion-mnist.*digits"):
        load("no-such-set", height=8, width=8)


def test_digits_come_with_scikit_learn() -> None:
    data = load("digits", height=8, width=8)
    assert [len(data.splits[name]) for name in SPLITS] == [1260, 134, 134, 269]
    x = np.concatenate([split.x for split in data.splits.values()])
    assert set(np.unique(x)) == {round(level * 255 / 16) for level in range(17)}
    assert all(len(np.unique(split.y)) == 10 for split in data.splits.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "channels", "sizes"),
    [
        ("fashion-mnist", 28, 1, [50000, 5000, 5000, 10000]),
        ("mnist", 28, 1, [50000, 5000, 5000, 10000]),
        ("omniglot", 28, 1, [1904, 204, 204, 408]),
        ("fraktur-glyphs", 56, 1, [13195, 1317, 1317, 2765]),
        ("cifar10", 32, 3, [10000, 1000, 1000, 9806]),
    ],
)
def test_the_real_sets_have_the_stated_sizes(
    name: str, side: int, channels: int, sizes: list[int]
) -> None:
    folder = os.environ.get("LIKELY_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"{name} is not below the folder LIKELY_DATA")
    data = load(name, height=side, width=side, channels=channels)
    assert [len(data.splits[split]) for split in SPLITS] == sizes
