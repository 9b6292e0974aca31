"""A run goes on with the settings that it was begun with, by this version or an earlier one."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.training.tiny import small_recipe
from training.fit.objective import MeanLoss
from training.fit.recipe import Recipe, Report
from training.pipeline.run_settings import hold

RECIPE = small_recipe()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that was begun with RECIPE."""
    hold(tmp_path / "run", RECIPE, {})
    return tmp_path / "run"


def refused(folder: Path, recipe: Recipe) -> bool:
    """Whether the recipe's settings are not those of the run."""
    try:
        hold(folder, recipe, {})
    except ValueError as error:
        return "run with other settings" in str(error)
    return False


def rewritten(folder: Path, **changes: Any) -> dict[str, Any]:
    """The run as another version would have written it."""
    path = folder / "settings.json"
    settings: dict[str, Any] = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(settings))
    return settings


def test_what_decides_the_weights_must_be_the_same(folder: Path) -> None:
    assert not refused(folder, RECIPE)
    for change in (
        {"seed": "1"},
        {"l2": "0.2"},
        {"hidden": "24"},
        {"max_energy": "40.0"},
        {"ema_decay": "0.5"},
    ):
        assert refused(folder, RECIPE.changed(change)), change


def test_how_the_model_is_served_and_measured_may_change(folder: Path) -> None:
    changed = RECIPE.changed({"num_steps": "3", "polish_steps": "2", "num_threads": "2"})
    changed = replace(changed, report=Report(judge_steps=3), graphs=(), ood_scores=("energy",))
    assert not refused(folder, replace(changed, ood_sets={"mnist": True}))


def test_a_run_goes_on_when_its_family_or_its_objective_has_gained_a_setting(folder: Path) -> None:
    defaults = vars(type(RECIPE.config)())
    settings = json.loads((folder / "settings.json").read_text())
    config = {k: v for k, v in settings["config"].items() if v != defaults[k]}
    assert len(config) < len(settings["config"]), "or this test says nothing"
    rewritten(folder, config=config)
    assert not refused(folder, RECIPE)
    assert not refused(folder, RECIPE.changed({"l2": "0.1"})), "the default, said aloud"
    assert refused(folder, replace(RECIPE, seed=1))


def test_a_run_of_a_version_with_other_sections_goes_on(folder: Path) -> None:
    """The bound on energies was the recipe's own, and once were all settings of the report."""
    settings = rewritten(folder, max_energy=50.0, ais_chains=64, judge_steps=10, ood_scores=["nll"])
    assert not refused(folder, RECIPE)
    assert refused(folder, RECIPE.changed({"max_energy": "40.0"}))
    rewritten(folder, max_energy=40.0)
    assert refused(folder, RECIPE)
    assert not refused(folder, RECIPE.changed({"max_energy": "40.0"}))
    plain = replace(RECIPE, objective=MeanLoss, objective_settings={})
    rewritten(folder, **{**settings, "objective_settings": {}})
    assert not refused(folder, plain), "such an objective has no energies to bound"
