"""Every file gets its row, and what is broken stops nothing."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.core.calibration.conformal import benjamini_hochberg
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.cli.screen import summary
from training.data.folder import Found, files_below, picture_of
from training.data.readers import DataError
from training.ood.bulk import COLUMNS, Verdict, screen_files
from training.ood.scorer import Scorer
from training.ood.table import write_csv


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Nine digits, a white square, a broken file, and a file that is no picture."""
    write_pictures(tmp_path / "in" / "digits", digits().splits["test"].x[:9])
    write_pictures(tmp_path / "in" / "white", np.full((1, 1, 8, 8), 255, np.uint8))
    (tmp_path / "in" / "digits" / "004.5.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "in" / "about.txt").write_text("words")
    return tmp_path / "in"


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_every_file_gets_what_its_image_gets(mixed: Path, batch: int) -> None:
    scorer, told = Scorer(plain_bundle()), list[Verdict]()
    found = screen_files(scorer, mixed, files_below(mixed), 0.2, batch, told.extend)
    paths = [f"digits/00{i}.png" for i in range(9)]
    paths[4:5] = ["digits/004.5.png", "digits/004.png"]
    assert [verdict.path for verdict in found] == ["about.txt", *paths, "white/000.png"]
    assert [verdict.path for verdict in told] == [verdict.path for verdict in found]
    x = np.concatenate([digits().splits["test"].x[:9], np.full((1, 1, 8, 8), 255, np.uint8)])
    expected, read = scorer(x), [verdict for verdict in found if not verdict.error]
    np.testing.assert_allclose([v.score for v in read], expected.default, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([v.p_value for v in read], expected.p_value)
    assert [v.is_ood for v in read] == [p <= 0.2 for p in expected.p_value]
    adjusted = benjamini_hochberg(torch.from_numpy(expected.p_value))
    np.testing.assert_allclose([v.adjusted_p_value for v in read], adjusted)
    (broken,) = (verdict for verdict in found if verdict.status == "broken")
    assert [v.error for v in found if v.status == "skipped"] == [".txt is no known kind of picture"]
    assert broken.path == "digits/004.5.png"
    assert "004.5.png" in broken.error
    assert str(mixed) not in broken.error


def test_the_table_can_be_read_again(mixed: Path, tmp_path: Path) -> None:
    found = screen_files(Scorer(plain_bundle()), mixed, files_below(mixed), 0.05, 64)
    write_csv(found, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(found)
    for row, verdict in zip(rows, found, strict=True):
        assert row["path"] == verdict.path
        if verdict.error:
            assert row["error"]
            assert {row[name] for name in COLUMNS[1:5]} == {""}
            assert row["status"] in ("broken", "skipped")
        else:
            assert float(row["p_value"]) == pytest.approx(verdict.p_value, rel=1e-8)
            assert float(row["score"]) == pytest.approx(verdict.score, rel=1e-6)
            assert row["is_ood"] == str(verdict.is_ood).lower()


def test_a_folder_of_broken_files_has_a_table_too(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    scorer = Scorer(plain_bundle())
    found = screen_files(scorer, tmp_path, files_below(tmp_path), 0.05, 64)
    assert [bool(verdict.error) for verdict in found] == [True]
    assert "1 could not be read" in "\n".join(summary(found, scorer, 0.05))


def test_an_alpha_out_of_reach_is_refused_before_work(mixed: Path) -> None:
    told: list[list[Verdict]] = []
    with pytest.raises(ValueError, match="134 calibration images"):
        screen_files(Scorer(plain_bundle()), mixed, [Found(mixed)], 0.001, 64, told.append)
    assert told == []


def test_the_summary_counts(mixed: Path) -> None:
    scorer = Scorer(plain_bundle())
    found = screen_files(scorer, mixed, files_below(mixed), 0.2, 64)
    text = "\n".join(summary(found, scorer, 0.2))
    assert f"10 images read, {sum(v.is_ood for v in found)} flagged" in text
    assert "about 2 would be" in text
    assert "134 held-out images of digits" in text
    assert "1 could not be read" in text
    assert "1 were skipped" in text
    assert "cannot be discovered" not in text
    assert "cannot be discovered" in "\n".join(summary(found, scorer, 0.05))


def test_a_photograph_is_seen_as_its_upload_would_be(tmp_path: Path) -> None:
    """Turned by its EXIF orientation, and in any colour mode."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    scorer = Scorer(plain_bundle())
    seen = picture_of(tmp_path / "turned.jpg", scorer.form)
    assert seen.shape == (1, 8, 8)
    assert seen[:, :4].mean() < 50 < 200 < seen[:, 4:].mean()
    Image.new("CMYK", (8, 8)).save(tmp_path / "print.jpg")
    assert picture_of(tmp_path / "print.jpg", scorer.form).mean() == 255
    Image.new("F", (8, 8)).save(tmp_path / "deep.tiff")
    with pytest.raises(DataError, match="no stated range"):
        picture_of(tmp_path / "deep.tiff", scorer.form)
