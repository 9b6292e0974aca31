"""Every broken data file is an error that names it; good ones are read as they are."""

import contextlib
import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from training.data.folder import picture_of
from training.data.readers import (
    DataError,
    raw_idx,
    raw_npz,
    raw_zip,
    read_idx,
    read_npz,
)

FORM = Preprocessing(4, 4)


def write_idx(path: Path, array: np.ndarray, magic: bytes = b"\x00\x00\x08") -> Path:
    """An IDX file of bytes, gzipped."""
    head = magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))
    return path


def write_png(path: Path, level: int = 0) -> Path:
    """A 4 x 3 picture of one grey level, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), level).save(path)
    return path


IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([0, 1, 1, 0, 1], np.uint8)


def test_idx_is_read_as_written(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "x.gz", IMAGES)), IMAGES)


@pytest.mark.parametrize("keep", [0, 5, 20, -9, -1])
def test_a_truncated_gzip_file_is_named(tmp_path: Path, keep: int) -> None:
    path = write_idx(tmp_path / "short.gz", IMAGES)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"short\.gz"):
        read_idx(path)


def test_a_file_that_is_not_gzip_is_named(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(b"\x00\x00\x08\x01\x00\x00\x00\x00")
    with pytest.raises(DataError, match=r"plain\.gz is not a whole gzip file"):
        read_idx(tmp_path / "plain.gz")


def test_a_wrong_magic_number_is_named(tmp_path: Path) -> None:
    path = write_idx(tmp_path / "floats.gz", IMAGES, magic=b"\x00\x00\x0d")
    with pytest.raises(DataError, match=r"floats\.gz is not an IDX file"):
        read_idx(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x08\x03\x00", b"\x00\x00\x08\x01\0\0\0\x09abc"]
)
def test_an_idx_file_that_ends_early_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=r"x\.gz"):
        read_idx(tmp_path / "x.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.gz is missing"):
        read_idx(tmp_path / "gone.gz")
    with pytest.raises(DataError, match=r"gone\.npz is missing"):
        read_npz(tmp_path / "gone.npz")


def test_idx_parts_become_one_set_with_an_official_test_part(tmp_path: Path) -> None:
    train, test = write_idx(tmp_path / "a.gz", IMAGES), write_idx(tmp_path / "b.gz", IMAGES[:2])
    train_y, test_y = (
        write_idx(tmp_path / "c.gz", LABELS),
        write_idx(tmp_path / "d.gz", LABELS[:2]),
    )
    raw = raw_idx((train, train_y, test, test_y), ("a", "b"))
    assert raw.is_test is not None
    assert raw.is_test.tolist() == [False] * 5 + [True] * 2
    assert raw.y.dtype == np.int64
    with pytest.raises(DataError, match=r"a\.gz has a label outside its 1 classes"):
        raw_idx((train, train_y, test, test_y), ("a",))
    with pytest.raises(DataError, match=r"a\.gz and its labels do not match"):
        raw_idx((train, test_y, test, test_y), ("a", "b"))


def test_npz_brings_class_names_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, x=IMAGES, y=LABELS, classes=np.array(["a", "b"]), line=np.arange(5))
    raw = raw_npz((path, path))
    assert raw.class_names == ("a", "b")
    assert raw.group is not None
    assert raw.group.tolist() == [0, 1, 2, 3, 4] * 2


def test_npz_with_pickles_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", x=np.array([{"a": 1}], dtype=object), y=LABELS)
    with pytest.raises(DataError, match=r"evil\.npz .*without pickles"):
        read_npz(tmp_path / "evil.npz")


@pytest.mark.parametrize("keep", [0, 10, 300, -4])
def test_a_truncated_npz_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "short.npz"
    np.savez_compressed(path, x=IMAGES, y=LABELS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"short\.npz"):
        read_npz(path)


def test_an_npy_file_is_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    with pytest.raises(DataError, match=r"x\.npy is not a whole NPZ"):
        read_npz(tmp_path / "x.npy")


def test_npz_without_labels_or_with_floats_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "bare.npz", x=IMAGES)
    with pytest.raises(DataError, match=r"bare\.npz has no array y"):
        raw_npz((tmp_path / "bare.npz",) * 2, ("a", "b"))
    np.savez(tmp_path / "float.npz", x=IMAGES / 255, y=LABELS)
    with pytest.raises(DataError, match=r"float\.npz holds float64"):
        raw_npz((tmp_path / "float.npz",) * 2, ("a", "b"))


def test_zipped_drawings_take_their_class_from_the_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, level in (("root/Greek/c02/1.png", 7), ("root/Greek/c01/1.png", 9)):
            archive.write(write_png(tmp_path / "one.png", level), name)
    raw = raw_zip((tmp_path / "set.zip",))
    assert raw.class_names == ("Greek/c01", "Greek/c02")
    assert isinstance(raw.images, np.ndarray)
    assert raw.images[:, 0, 0].tolist() == [9, 7]


@pytest.mark.parametrize("keep", [0, 30, -30])
def test_a_truncated_zip_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "short.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(write_png(tmp_path / "one.png"), "root/a/1.png")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"short\.zip"):
        raw_zip((path,))


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_corrupt_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png: "):
        picture_of(tmp_path / "bad.png", FORM)


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    path = write_png(tmp_path / "short.png")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"short\.png: damaged"):
        picture_of(path, FORM)


def test_no_damage_gets_past_the_readers(tmp_path: Path) -> None:
    random, pictures = np.random.RandomState(0), tmp_path / "pictures.zip"
    np.savez(tmp_path / "set.npz", x=IMAGES, y=LABELS)
    with zipfile.ZipFile(pictures, "w") as archive:
        archive.write(write_png(tmp_path / "one.png"), "root/a/1.png")
    readers = (
        (write_idx(tmp_path / "x.gz", IMAGES), read_idx),
        (tmp_path / "set.npz", read_npz),
        (pictures, lambda path: raw_zip((path,))),
        (tmp_path / "one.png", lambda path: picture_of(path, FORM)),
    )
    for path, read in readers:
        whole = path.read_bytes()
        for _ in range(200):
            damaged = bytearray(whole)
            for at in random.randint(len(whole), size=3):
                damaged[at] = random.randint(256)
            path.write_bytes(damaged)
            with contextlib.suppress(DataError):
                read(path)
