"""With which settings and data a run was begun: no others may go on with its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.core.contract.setting import weight_settings
from training.data.fingerprint import Fingerprint, difference
from training.data.readers import DataError
from training.data.sources import SOURCES
from training.fit.recipe import Recipe

_DATA = "data.json"
_RESTART = "remove it, or use --runs"


def hold(folder: Path, recipe: Recipe, fingerprint: Fingerprint) -> None:
    """Keep settings and data with the run in `folder`, or compare them with those kept there.

    Raises ValueError if settings differ in what decides the weights: going on would make a model
    that no command describes. Raises DataError if the data differ: images that were trained on
    would become those that calibrate and test.
    """
    path = folder / "settings.json"
    settings = json.loads(json.dumps(_of_weights(asdict(recipe), recipe)))
    if path.exists():
        if _completed(json.loads(path.read_text()), recipe) != _completed(settings, recipe):
            raise ValueError(f"{folder} holds a run with other settings: {_RESTART}")
        _compare(folder, recipe.dataset, fingerprint)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _DATA).write_text(json.dumps(fingerprint, indent=0))
        path.write_text(json.dumps(settings, indent=2))


def _compare(folder: Path, dataset: str, fingerprint: Fingerprint) -> None:
    """Raises DataError for other data than the run in `folder` was begun with."""
    path = folder / _DATA
    if path.exists():
        if changed := difference(json.loads(path.read_text()), fingerprint):
            raise DataError(
                f"{folder} holds a run with other data: of the files of {dataset}, {changed}: "
                f"{_RESTART}"
            )
    elif dataset not in SOURCES:  # named sets are always the same: their sha256 is checked
        raise DataError(
            f"{folder} holds a run of an earlier version, which did not note the pictures of "
            f"{dataset} that it was trained on: {_RESTART}"
        )


def _completed(settings: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """With the defaults of what the config and the objective have gained since the run began.

    Some settings were the recipe's own in earlier versions and are the objective's today.
    """
    config = json.loads(json.dumps(asdict(type(recipe.config)())))
    objective = json.loads(json.dumps(recipe.objective_defaults))
    moved = {name: value for name, value in settings.items() if name in objective}
    completed = {
        **settings,
        "config": {**config, **settings["config"]},
        "objective_settings": {**objective, **moved, **settings["objective_settings"]},
    }
    return _of_weights(completed, recipe)


def _of_weights(settings: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Those that decide the weights. The objective is a class: its settings stand for it."""
    names = set(weight_settings(recipe)) - {"objective"}
    config = set(weight_settings(recipe.config))
    chosen = {name: value for name, value in settings.items() if name in names}
    return {**chosen, "config": {k: v for k, v in settings["config"].items() if k in config}}
