"""Classes are found in the usual layouts of folders, and what could be two layouts is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.data.layout import raw_folder
from training.data.readers import DataError
from training.data.splits import SPLITS, load, split_rows


def write_png(path: Path, level: int = 0) -> Path:
    """A 4 x 3 picture of one grey level, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), level).save(path)
    return path


def test_a_folder_per_class_in_the_order_of_paths(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a/z.PNG", "a/sub/0.png", ".hidden", "a/.hidden"):
        write_png(tmp_path / f"{name}.png").rename(tmp_path / name)
    raw = raw_folder(tmp_path)
    assert isinstance(raw.images, tuple)
    assert [path.relative_to(tmp_path).as_posix() for path in raw.images] == [
        *("a/sub/0.png", "a/z.PNG", "b/1.png", "b/2.png")
    ]
    assert raw.class_names == ("a", "b")
    assert raw.y.tolist() == [0, 0, 1, 1]
    assert raw.is_test is None


def test_train_and_test_folders_are_an_official_split(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png"):
        write_png(tmp_path / name)
    raw = raw_folder(tmp_path)
    assert raw.is_test is not None
    assert raw.is_test.tolist() == [False, False, True]
    assert raw.y.tolist() == [0, 1, 1]
    write_png(tmp_path / "test/c/1.png")
    with pytest.raises(DataError, match=r"test/c is a class that train/ does not have"):
        raw_folder(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "a/1.png"], r"1\.png has no label"),
        (["train/1.png", "test/1.png"], r"1\.png has no label"),
        (["train/a/1.png", "test/a/1.png", "x/a/1.png"], r"x is beside test/, train/"),
        (["train/a/1.png", "test/a/1.png", "1.png"], r"1\.png is beside test/, train/"),
        (["train/a/1.png", "x/1.png"], r"x is beside train/, which"),
        (["train/a/1.png", "Training/a/1.png", "val/a/1.png"], "two of them are the same part"),
        (["train/a/1.png", "train/b/1.png"], r"holds train/ alone: accepted are"),
        (["val/a/1.png", "test/a/1.png"], r"holds test/, val/ alone: accepted are"),
        (["train/1.png", "val/1.png"], r"1\.png has no label"),
        (["set/a/1.png", "set/b/1.png"], r"one folder, set/, in which are a/, b/: .*name .*set;"),
        (
            ["a/train/1.png", "a/test/1.png", "b/train/1.png"],
            r"a/, b/, and in each .*test/, train/",
        ),
        (["a/1.png", "a/notes.txt"], r"notes\.txt is no picture"),
        ([".hidden"], r"has no class folders"),
    ],
)
def test_a_folder_in_disorder_is_an_error(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write_png(tmp_path / f"{name}.png").rename(tmp_path / name)
    with pytest.raises(DataError, match=message):
        raw_folder(tmp_path)


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "a/1.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError, match=r"b is a class folder without pictures"):
        raw_folder(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone is neither a named data set nor a folder"):
        raw_folder(tmp_path / "gone")


@pytest.mark.parametrize("names", [("train", "val"), ("Train", "VALID"), ("training", "test")])
def test_beside_train_alone_the_other_part_is_the_test_split(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for part, num in zip(names, (24, 3), strict=True):
        for i in range(num):
            write_png(tmp_path / part / "ab"[i % 2] / f"{i}.png", i)
    raw = raw_folder(tmp_path)
    assert raw.class_names == ("a", "b")
    rows = split_rows(raw, "cut")
    assert [len(rows[name]) for name in SPLITS] == [20, 2, 2, 3]
    assert raw.is_validation is None
    assert isinstance(raw.images, tuple)
    assert {raw.images[row].parts[-3] for row in rows["test"]} == {names[1]}


def test_all_three_parts_are_what_they_say_and_calibration_is_of_train(tmp_path: Path) -> None:
    for part, num, first in (("train", 24, 0), ("val", 5, 100), ("test", 7, 200)):
        for i in range(num):
            write_png(tmp_path / part / "ab"[i % 2] / f"{i}.png", first + i)
    data = load(str(tmp_path), height=3, width=4)
    assert data.class_names == ("a", "b")
    levels = {name: split.x[:, 0, 0, 0] for name, split in data.splits.items()}
    assert sorted(levels["validation"]) == list(range(100, 105))
    assert sorted(levels["test"]) == list(range(200, 207))
    assert len(levels["calibration"]) == 2
    assert sorted(np.concatenate([levels["calibration"], levels["train"]])) == list(range(24))
    assert "test and validation as found" in data.split_rule


def test_a_class_may_be_called_like_a_part(tmp_path: Path) -> None:
    for name in ("bus/1.png", "car/1.png", "train/1.png"):
        write_png(tmp_path / name)
    assert raw_folder(tmp_path).class_names == ("bus", "car", "train")
