"""Every file has a row, whatever its name; a table is whole or resumable, and never half."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from models.core.bundle.bundle import save
from models.core.bundle.preprocess import Preprocessing
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.__main__ import commands
from training.data.folder import files_below, picture_of
from training.ood import bulk


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle's folder."""
    return save(plain_bundle(), tmp_path_factory.mktemp("bundles") / "tiny")


def screened(bundle: Path, folder: Path, out: Path) -> Result:
    """What `python -m training screen` does, four files at a time."""
    arguments = ["screen", str(folder), "--id", str(bundle), "--out", str(out), "--batch", "4"]
    return CliRunner().invoke(commands, arguments)


def rows(table: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by path."""
    with table.open(newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def test_every_file_has_a_row_and_a_status(bundle: Path, tmp_path: Path) -> None:
    folder, picture = tmp_path / "in", Image.fromarray(digits().splits["test"].x[0, 0])
    write_pictures(tmp_path / "elsewhere", digits().splits["test"].x[:2])
    folder.mkdir()
    for name in (
        "a [draft].jfif",
        "b.jpe",
        "c.HEIC",
        "d.avif",
        "noext",
        "=1+1.png",
        "two\nlines.png",
    ):
        picture.save(folder / name, "JPEG" if name.endswith(("jfif", "jpe")) else "PNG")
    picture.save(os.fsencode(folder) + b"/caf\xe9.png", "PNG")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff [broken].png")).write_bytes(b"nothing")
    for name in ("notes.txt", "README", "real.heic", ".hidden.png"):
        (folder / name).write_text("words")
    (folder / "day1").symlink_to(tmp_path / "elsewhere")
    (folder / "day1-again").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    result = screened(bundle, folder, tmp_path / "table.csv")
    assert result.exit_code == 0, result.output
    found = rows(tmp_path / "table.csv")
    assert {name: row["status"] for name, row in found.items()} == {
        **dict.fromkeys(("a [draft].jfif", "b.jpe", "c.HEIC", "d.avif", "noext"), "scored"),
        **dict.fromkeys(("=1+1.png", "two\nlines.png", "caf\\xe9.png"), "scored"),
        **dict.fromkeys(("day1/000.png", "day1/001.png"), "scored"),
        "\\xff [broken].png": "broken",
        **dict.fromkeys(("notes.txt", "README", "real.heic", ".hidden.png"), "skipped"),
        **dict.fromkeys(("day1-again", "loop", "gone.png", "pipe.png"), "skipped"),
    }
    assert all(bool(row["error"]) == (row["status"] != "scored") for row in found.values())
    assert "10 images read" in result.output
    assert "1 could not be read" in result.output
    assert "[broken]" in result.output
    assert "8 were skipped" in result.output


def test_a_run_that_was_cut_off_goes_on(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, table = digits().splits["test"].x[:12], tmp_path / "table.csv"
    folder = tmp_path / "in"
    paths = write_pictures(folder, x)
    assert screened(bundle, folder, tmp_path / "whole.csv").exit_code == 0
    read, original = list[str](), picture_of

    def cut_off(path: Path, form: Preprocessing) -> np.ndarray:
        if len(read) == 10:
            raise KeyboardInterrupt
        read.append(path.name)
        return original(path, form)

    with monkeypatch.context() as patched:
        patched.setattr(bulk, "picture_of", cut_off)
        assert screened(bundle, folder, table).exit_code != 0
    assert not table.exists()
    part = table.with_name("table.csv.part")
    assert len(part.read_text().splitlines()) == 1 + 8, "two batches"
    part.write_text(part.read_text() + '{"path": "00')
    Image.fromarray(255 - x[1, 0]).save(paths[1])  # another picture since
    os.utime(paths[1], ns=(1, 1))
    result = screened(bundle, folder, table)
    assert result.exit_code == 0, result.output
    assert "7 files were screened before" in result.output
    assert not part.exists()
    assert screened(bundle, folder, tmp_path / "again.csv").exit_code == 0
    resumed, again, other = map(rows, (table, tmp_path / "again.csv", tmp_path / "whole.csv"))
    assert list(resumed) == [path.name for path in paths]
    for name, row in resumed.items():
        assert row["p_value"] == again[name]["p_value"]
        assert row["adjusted_p_value"] == again[name]["adjusted_p_value"]
    assert resumed["001.png"]["score"] != other["001.png"]["score"]
    assert resumed["002.png"]["score"] == other["002.png"]["score"]


def test_rows_of_another_bundle_are_not_taken_over(bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", digits().splits["test"].x[:3])
    part = tmp_path / "table.csv.part"
    part.write_text('{"bundle": "other@1", "score": "energy"}\n{"path": "000.png"}\n')
    assert screened(bundle, tmp_path / "in", tmp_path / "table.csv").exit_code == 0
    assert {row["status"] for row in rows(tmp_path / "table.csv").values()} == {"scored"}


def test_a_decoder_may_raise_what_it_likes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "in", digits().splits["test"].x[:3])
    original = picture_of

    def fragile(path: Path, form: Preprocessing) -> np.ndarray:
        if path.name == "001.png":
            raise AttributeError
        return original(path, form)

    monkeypatch.setattr(bulk, "picture_of", fragile)
    assert screened(bundle, tmp_path / "in", tmp_path / "table.csv").exit_code == 0
    found = rows(tmp_path / "table.csv")
    assert [row["status"] for row in found.values()] == ["scored", "broken", "scored"]
    assert found["001.png"]["error"] == "AttributeError"


def test_folders_come_before_links_to_them(tmp_path: Path) -> None:
    write_pictures(tmp_path / "z", digits().splits["test"].x[:1])
    (tmp_path / "a").symlink_to(tmp_path / "z")
    found = {f.path.relative_to(tmp_path).as_posix(): f.skipped for f in files_below(tmp_path)}
    assert found == {"a": "a link to a folder that was entered already", "z/000.png": ""}
