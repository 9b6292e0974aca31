"""With which settings a run was begun: another command must not go on with its weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.core.contract.setting import weight_settings
from training.fit.recipe import Recipe


def hold(folder: Path, recipe: Recipe) -> None:
    """Keep the recipe's settings with the run in `folder`, or compare them with those kept there.

    Raises ValueError if they differ in what decides the weights: going on would make a model that
    no command describes.
    """
    path = folder / "settings.json"
    settings = json.loads(json.dumps(_of_weights(asdict(recipe), recipe)))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2))
    elif _completed(json.loads(path.read_text()), recipe) != _completed(settings, recipe):
        raise ValueError(f"{folder} holds a run with other settings: remove it, or use --runs")


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
