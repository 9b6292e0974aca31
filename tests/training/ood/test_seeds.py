"""Reports of one screen with several seeds, put together: only what belongs together is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.training.ood_bundles import plain_bundle
from training.__main__ import commands
from training.data.readers import DataError
from training.data.sources import File
from training.ood import panel
from training.ood.evaluate import evaluate
from training.ood.evaluation import Evaluation
from training.ood.report import files
from training.ood.sections import sections
from training.ood.seeds import read, spread, with_seeds


def _absent(file: File) -> Path:
    raise DataError(f"{file.path} is missing")


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """Of a plain bundle, on a machine that has no other data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "fetch", _absent)
        return evaluate(plain_bundle(), "digits", limit=40, folders={}, command="evaluate")[0]


def moved(found: Evaluation, version: str, by: float) -> Evaluation:
    """The figures of another seed: every AUROC is that much higher."""
    rows = tuple(
        replace(row, caught=replace(row.caught, auroc=row.caught.auroc + by)) if row.caught else row
        for row in found.rows
    )
    return replace(found, version=version, rows=rows)


def write(found: Evaluation, folder: Path) -> Path:
    """A bundle's folder with its report."""
    (folder / "report").mkdir(parents=True)
    for name, content in files(found, {"ood_roc.png": b"a picture"}).items():
        (folder / "report" / name).write_bytes(content)
    return folder


def test_a_report_is_read_as_it_was_written(found: Evaluation, tmp_path: Path) -> None:
    assert read(write(found, tmp_path / "one") / "report" / "ood.json") == found


def test_mean_and_range_are_over_all_trainings(found: Evaluation) -> None:
    whole = with_seeds(found, [moved(found, "b", 0.03), moved(found, "c", -0.06)])
    assert [one.version for one in spread(whole)] == [found.version, "b", "c"]
    _, about, head, body = next(s for s in sections(whole) if s[0] == "Other training seeds")
    assert "3 screens" in about[0]
    assert f"{found.version} (269 own test images)" in about[0]
    rate = found.false_alarms["0.05"].rate
    assert f"False alarms at p <= 0.05: {rate:.4f} ({rate:.4f} to {rate:.4f})." in about
    row = next(row for row in found.rows if row.caught)
    assert row.caught is not None
    auroc = row.caught.auroc
    cells = dict(zip(head, next(cells for cells in body if cells[0] == row.name), strict=True))
    expected = f"{auroc - 0.01:.4f} ({auroc - 0.06:.4f} to {auroc + 0.03:.4f})"
    assert cells["AUROC"] == expected
    assert len(body) == sum(row.caught is not None for row in found.rows)


def test_a_set_that_one_training_never_met_is_left_out(found: Evaluation) -> None:
    shorter = replace(moved(found, "b", 0), rows=found.rows[1:])
    body = next(s[3] for s in sections(with_seeds(found, [shorter])) if "seeds" in s[0])
    assert found.rows[0].caught is not None
    assert found.rows[0].name not in [cells[0] for cells in body]


def test_one_training_has_no_spread_to_show(found: Evaluation) -> None:
    assert not [section for section in sections(found) if "seeds" in section[0]]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": "mnist"}, "has dataset mnist: accepted is digits"),
        ({"default_score": "ic"}, "has default_score ic: accepted is energy"),
        ({}, "there twice"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    found: Evaluation, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        with_seeds(found, [replace(found, **changes)])


def test_the_command_adds_to_the_report_and_keeps_its_pictures(
    found: Evaluation, tmp_path: Path
) -> None:
    own = write(found, tmp_path / "own")
    other = write(moved(found, "b", 0.01), tmp_path / "other")
    ran = CliRunner().invoke(commands, ["evaluate-seeds", str(own), str(other)])
    assert ran.exit_code == 0, ran.output
    assert "2 trainings" in ran.output
    assert "## Other training seeds" in (own / "report" / "ood.md").read_text()
    assert "<h2>Other training seeds</h2>" in (own / "report" / "ood.html").read_text()
    assert "](ood_roc.png)" in (own / "report" / "ood.md").read_text()
    assert json.loads((own / "report" / "ood.json").read_text())["other_seeds"][0]["version"] == "b"
    assert CliRunner().invoke(commands, ["evaluate-seeds", str(own), str(other)]).exit_code == 0


@pytest.mark.parametrize("content", [None, b"{}", b"no json"])
def test_a_file_that_is_no_report_is_said_to_be_none(
    found: Evaluation, tmp_path: Path, content: bytes | None
) -> None:
    own, other = write(found, tmp_path / "own"), tmp_path / "other" / "report"
    before = (own / "report" / "ood.md").read_bytes()
    other.mkdir(parents=True)
    if content is not None:
        (other / "ood.json").write_bytes(content)
    ran = CliRunner().invoke(commands, ["evaluate-seeds", str(own), str(other.parent)])
    assert ran.exit_code == 1
    assert "DataError" in ran.output
    assert (own / "report" / "ood.md").read_bytes() == before
