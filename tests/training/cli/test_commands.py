"""The command line: a recipe needs no command, screens have theirs, mistakes get a message."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from models.core.bundle.bundle import load, save
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.__main__ import commands
from training.data.readers import DataError
from training.data.sources import File
from training.fit.recipe import Recipe
from training.ood import panel
from training.ood.probes import PROBES
from training.pipeline.screen_recipe import ScreenRecipe


def call(*arguments: object) -> Result:
    """What `python -m training ...` does."""
    return CliRunner().invoke(commands, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle's folder."""
    return save(plain_bundle(), tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.mark.parametrize(
    "arguments",
    [
        ("made_digits", "--set", "seed=7", "--name", "mine"),
        ("--set", "seed=7", "--name", "mine", "made_digits"),
        ("train", "made_digits", "--name", "mine", "--set", "seed=7"),
    ],
)
def test_a_recipe_is_trained(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []

    def make(name: str, recipe: Recipe, runs: Path, out: Path, command: str) -> Path:
        made.append((name, recipe.seed, recipe.dataset, runs, out, command))
        return out

    monkeypatch.setattr("training.cli.train.make", make)
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    command = "python -m training made_digits --set seed=7"
    ours = call("made_digits"), call("jem_folder"), call("made_digits", "--out", "x")
    assert [one.exit_code for one in ours] == [0, 0, 0]
    assert [one[4] for one in made[1:]] == [Path("bundles"), Path("own_bundles"), Path("x")]
    del made[1:]
    assert made == [("mine", 7, "digits", Path("runs"), Path("own_bundles"), command)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("no_such_recipe",), 1, "unknown recipe"),
        (("evaluate-ood", "nowhere"), 1, "bundle.json cannot be read"),
        (("evaluate-ood",), 2, "BUNDLE"),
        (("calibrate", "nowhere"), 2, "FOLDER"),
        (("screen", "."), 2, "--id"),
        (("screen", "nowhere", "--id", "nowhere"), 1, "not a folder"),
        ((), 2, "evaluate-ood"),
        (("--help",), 0, "evaluate-ood"),
    ],
)
def test_mistakes_get_a_message(arguments: tuple[str, ...], code: int, said: str) -> None:
    result = call(*arguments)
    assert result.exit_code == code
    assert said in result.output.replace("\n", " ")


@pytest.mark.parametrize(
    "pairs", [("mine",), ("=x",), ("mine=",), ("mine=a", "mine=b")], ids=lambda pairs: pairs[-1]
)
def test_a_set_needs_a_name_and_a_folder(bundle: Path, pairs: tuple[str, ...]) -> None:
    result = call("evaluate-ood", bundle, *(part for pair in pairs for part in ("--folder", pair)))
    assert result.exit_code == 1
    assert "--folder" in result.output


def test_a_report_is_written(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(file: File) -> Path:
        raise DataError(f"{file.path} is missing")

    monkeypatch.setattr(panel, "fetch", absent)
    monkeypatch.setattr(panel, "PROBES", PROBES[4:5])
    write_pictures(tmp_path / "white", np.full((3, 1, 8, 8), 255, np.uint8))
    before = load(bundle).version
    white = f"white={tmp_path / 'white'}"
    result = call("evaluate-ood", bundle, "--limit", 40, "--folder", white)
    assert result.exit_code == 0, result.output
    found = json.loads((bundle / "report" / "ood.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["black", "white"]
    assert found["false_alarms"]["0.05"]["num"] == 269, "the whole test split"
    assert found["command"] == (
        f"python -m training evaluate-ood bundles/{bundle.name} --limit 40 --folder white=white"
    )
    assert {path.name for path in (bundle / "report").iterdir()} == {
        *("ood.md", "ood.html", "ood.json"),
        *("ood_sets.png", "ood_histograms.png", "ood_roc.png"),
    }
    assert load(bundle).version == before, "a report is no part of what the hash covers"


def test_a_bundle_is_calibrated_anew(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    write_pictures(folder, digits().splits["train"].x[:210])
    arguments = ("calibrate", bundle, folder, "--out", tmp_path / "out")
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    found = load(tmp_path / "out" / "tiny-mine")
    assert found.calibration_source == "105 images of the folder mine"
    assert (tmp_path / "out" / "tiny-mine" / "README.md").exists()
    again = call(*arguments)
    assert again.exit_code == 1
    assert "--name" in again.output
    small = call(*arguments, "--alpha", 0.001, "--name", "small")
    assert small.exit_code == 1
    assert "1,998" in small.output
    assert not (tmp_path / "out" / "small").exists()


def test_a_folder_is_screened(bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", digits().splits["test"].x[:5])
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    table = tmp_path / "table.csv"
    result = call("screen", tmp_path / "in", "--id", bundle, "--out", table)
    assert result.exit_code == 0, result.output
    assert "5 images read" in result.output
    assert "1 could not be read" in result.output
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [*(f"00{i}.png" for i in range(5)), "broken.png"]
    assert all(0 < float(row["p_value"]) <= 1 for row in rows[:5])


def test_an_alpha_out_of_reach_writes_no_table(bundle: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", digits().splits["test"].x[:2])
    table = tmp_path / "table.csv"
    result = call("screen", tmp_path / "in", "--id", bundle, "--out", table, "--alpha", 0.001)
    assert result.exit_code == 1
    assert "out of reach" in result.output.replace("\n", " ")
    assert not table.exists()


def test_a_screen_is_made_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[Any, ...]] = []

    def make(name: str, recipe: ScreenRecipe, runs: Path, out: Path, command: str) -> Path:
        made.append((name, recipe.seed, runs, command))
        return out

    monkeypatch.setattr("training.cli.train.make_screen", make)
    result = call("screen_mnist", "--set", "seed=2", "--name", "mine")
    assert result.exit_code == 0, result.output
    command = "python -m training screen_mnist --set seed=2"
    assert made == [("mine", 2, Path("runs"), command)]
    for setting in ("seed=-1", "seed=x", "channels=3"):
        assert call("screen_mnist", "--set", setting).exit_code == 1
    assert len(made) == 1
