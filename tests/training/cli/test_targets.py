"""What cannot be written is said before the work, not after it."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.core.bundle.bundle import load, save
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.__main__ import commands
from training.cli.targets import check_bundle, check_file, check_folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle's folder."""
    return save(plain_bundle(), tmp_path_factory.mktemp("bundles") / "tiny")


def said(*arguments: object) -> str:
    """The message of a command that is refused."""
    result = CliRunner().invoke(commands, [str(argument) for argument in arguments])
    assert result.exit_code == 1, result.output
    return " ".join(result.output.split())


def test_a_bundle_may_be_replaced_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    check_bundle(bundle.parent, bundle.name)
    check_bundle(tmp_path / "new" / "folders", "name")
    (tmp_path / "photos").mkdir()
    for path in ("photos", "file"):
        if path == "file":
            (tmp_path / path).write_text("")
        with pytest.raises(ValueError, match=f"{path} exists and is no bundle"):
            check_bundle(tmp_path, path)
    for name in ("my model", "../x", "", ".x"):
        with pytest.raises(ValueError, match="accepted are letters, digits"):
            check_bundle(tmp_path, name)


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in ("file", "file/below"):
        with pytest.raises(ValueError, match="is a file, not a folder"):
            check_folder(tmp_path / path)
    check_folder(tmp_path / "a" / "b")


def test_a_table_needs_a_folder(tmp_path: Path) -> None:
    check_file(tmp_path / "table.csv")
    with pytest.raises(ValueError, match="is a folder: accepted is a file"):
        check_file(tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        check_file(tmp_path / "no" / "table.csv")


def test_a_name_is_refused_before_anything_is_read(bundle: Path, tmp_path: Path) -> None:
    """Neither the data set nor the pictures are there."""
    assert "'my model'" in said("jem_folder", "--name", "my model", "--out", tmp_path)
    gone = tmp_path / "my photos"
    assert "'tiny-my photos'" in said("calibrate", bundle, gone, "--out", tmp_path)
    (tmp_path / "file").write_text("")
    assert "is a file" in said("evaluate-ood", bundle, "--out", tmp_path / "file", "--data", gone)
    assert "no folder" in said("screen", gone, "--id", bundle, "--out", tmp_path / "no" / "a.csv")


def test_a_report_of_few_calibration_images_leaves_out_what_they_cannot_say(
    bundle: Path, tmp_path: Path
) -> None:
    """Forty images allow no alpha of 0.01; ten not even 0.05, which is said before any work."""
    small = load(bundle)
    x, y = digits().splits["test"].x[:140], np.arange(140) % 2
    for label in (0, 1):
        write_pictures(tmp_path / "data" / str(label), x[y == label])
    for num in (40, 10):
        calibrations = {
            name: type(c).fit(c.scores[:num], c.reference) for name, c in small.calibrations.items()
        }
        save(plain_bundle(calibrations=calibrations), tmp_path / f"tiny{num}")
    report = tmp_path / "report"
    arguments = ("--data", tmp_path / "data", "--limit", 10, "--out", report)
    assert "10 calibration images" in said("evaluate-ood", tmp_path / "tiny10", *arguments)
    assert not report.exists()
    result = CliRunner().invoke(
        commands, [str(part) for part in ("evaluate-ood", tmp_path / "tiny40", *arguments)]
    )
    assert result.exit_code == 0, result.output
    assert "Nothing is told of alpha = 0.01: 40 calibration images" in " ".join(
        result.output.split()
    )
    text = (report / "ood.md").read_text()
    assert "for 0.01 it takes 99" in text
    assert "p <= 0.05" in text
    assert "p <= 0.01" not in text
    assert (report / "ood_roc.png").exists()
