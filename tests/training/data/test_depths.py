"""Deep pictures in a folder are trained on as they look, or stop the run with their path."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.models.picture_files import LEVELS, tiff_file
from training.data.readers import DataError
from training.data.splits import load


def folder_of(root: Path, stored: np.ndarray, white_is_zero: bool = False) -> Path:
    """Two classes of 14 pictures, a level apart in brightness."""
    for name in "ab":
        (root / name).mkdir(parents=True)
        for i in range(14):
            data = tiff_file(np.roll(stored, i + 7 * (name == "b")), white_is_zero)
            (root / name / f"{i}.tif").write_bytes(data)
    return root


@pytest.mark.parametrize(
    ("stored", "white_is_zero"),
    [
        (LEVELS.astype(np.uint16) * 257, False),
        (65535 - LEVELS.astype(np.uint16) * 257, True),
        (LEVELS.astype(np.uint32) * 16_843_009, False),
    ],
    ids=["16 bits", "16 bits, white is 0", "32 bits"],
)
def test_deep_pictures_are_as_bright_as_they_look(
    tmp_path: Path, stored: np.ndarray, white_is_zero: bool
) -> None:
    folder = folder_of(tmp_path / "in", stored, white_is_zero=white_is_zero)
    x = load(str(folder), height=4, width=4).splits["train"].x
    assert {tuple(np.sort(one.ravel())) for one in x} == {tuple(LEVELS.ravel())}


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int16])
def test_what_has_no_range_stops_a_run_with_its_path(tmp_path: Path, dtype: type) -> None:
    folder = folder_of(tmp_path / "in", LEVELS.astype(dtype))
    with pytest.raises(DataError, match=r"\.tif: .*no stated range"):
        load(str(folder), height=4, width=4)
