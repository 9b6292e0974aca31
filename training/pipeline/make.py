"""From a recipe to a bundle: train, round, calibrate, evaluate, export, write."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from models.core.bundle import bundle as bundles
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from models.core.energy.model import EnergyModel
from models.core.nn.conv import count_parameters
from training.data.splits import Dataset, load, load_test
from training.export import export
from training.fit.recipe import Recipe, params_of
from training.fit.trainer import RunState, fit
from training.measure import latents, plane
from training.measure import test_split as evaluate
from training.measure.calibrate import calibrate
from training.measure.classifier import train_judge
from training.measure.fid import feature_fids
from training.measure.likelihood import likelihood
from training.measure.log_z import estimate_log_z
from training.report import pictures as report
from training.report.card import model_card

_OTHERS = 2000  # images of another set: AUROC to about 0.01
_AFTER = {
    *("ood_scores", "ood_sets", "num_threads", "objective", "judge_steps", "graphs"),
    *("ais_chains", "ais_steps", "rated_params", "num_rated", "compared_params", "num_compared"),
}
"""Settings of a recipe that have no say in the weights."""
_OF_SAMPLING = {
    *("num_steps", "polish_steps", "temperature"),
    *("sampler", "spacing", "eta", "clip", "guidance_scale"),
}
"""Settings of a config that have none either: how samples are drawn when served."""
_JUDGED = 20  # samples of each class


def make(name: str, recipe: Recipe, runs: Path, out: Path, command: str) -> Path:
    """The finished bundle's folder. Raises DataError for bad data, Diverged if training fails."""
    form = recipe.form
    data = load(recipe.dataset, invert=recipe.invert, **form)
    folder = runs / name
    model, state = trained(recipe, data, folder)
    others = {
        other: load_test(other, invert=invert, limit=_OTHERS, **form)
        for other, invert in recipe.ood_sets.items()
    }
    panel = evaluate.Panel(data.splits["test"], others)
    metrics = _metrics(model, data, state, folder, recipe)
    calibrations = calibrate(
        model, recipe.ood_scores, data.splits["calibration"], data.splits["validation"]
    )
    scored = evaluate.scored(model, calibrations, panel)
    metrics |= evaluate.screening(calibrations, scored, panel)
    things = "images" if recipe.height else "rows"
    bundle = bundles.Bundle(
        name=name,
        family=recipe.family,
        config=asdict(recipe.config_for(data)),
        weights=bundles.halved(model.state_dict()),
        preprocessing=Preprocessing(invert=recipe.invert, **form) if recipe.height else None,
        feature_names=data.feature_names,
        class_names=data.class_names if model.num_classes else (),
        calibrations=calibrations,
        calibration_source=f"{len(data.splits['calibration']):,} held-out {things} of {data.name}",
        metrics=metrics,
        provenance=provenance_of(recipe, data, command),
        graphs={
            graph: export(function)
            for graph, function in model.graphs().items()
            if recipe.graphs is None or graph in recipe.graphs
        },
    )
    pictures = report.samples(model, data)
    card = model_card(
        bundle,
        data,
        count_parameters(model.requires_grad_(True)),
        model,
        "report/trajectory.png" in pictures,
        recipe.objective.sees_data,
    )
    extras = {
        **pictures,
        "README.md": card.encode(),
    }
    for score, calibration in calibrations.items():
        extras[f"report/histogram_{score}.png"] = report.histogram(
            score, calibration, scored[score], data.name
        )
    if (log := report.curves(folder / "log" / "metrics.csv")) is not None:
        extras["report/training.png"] = log
    return bundles.save(bundle, out / name, extras)


def trained(recipe: Recipe, data: Dataset, folder: Path) -> tuple[GenerativeModel, RunState]:
    """The model, its weights as they will be stored; goes on where a run in `folder` was cut off.

    Raises ValueError for params that the model refuses and runs with other settings, Diverged if
    training fails.
    """
    torch.manual_seed(recipe.seed)
    model: GenerativeModel = family(recipe.family).Model(recipe.config_for(data))
    _usable(model, recipe)
    _same_settings(folder, recipe)
    state = fit(recipe, model, data.splits["train"], folder, data.splits["validation"])
    model.eval().requires_grad_(False)
    bundles.half_rounded(model)
    return model, state


def _metrics(
    model: GenerativeModel, data: Dataset, state: RunState, folder: Path, recipe: Recipe
) -> dict[str, float]:
    """Figures that need no other data set."""
    test = data.splits["test"]
    things = "images" if recipe.height else "rows"
    metrics = {f"num_test_{things}": float(len(test)), "num_restarts": float(state.num_restarts)}
    metrics |= evaluate.classification(model, test)
    takes_label = model.num_classes and model.operations()["sample"].takes_label
    if takes_label or recipe.compared_params:
        classes = len(data.class_names)
        judge = train_judge(data.splits["train"], classes, folder, recipe.judge_steps)
        metrics |= evaluate.judged(judge, test)
        if takes_label:
            metrics |= evaluate.conditional_samples(model, judge, _JUDGED)
        num, beside = recipe.num_compared, folder / "compared"
        metrics |= feature_fids(model, judge, data.splits, recipe.compared_params, num, beside)
    if isinstance(model, EnergyModel):
        metrics |= estimate_log_z(model, recipe.ais_chains, recipe.ais_steps)
    metrics |= likelihood(
        model, data.splits["train"], test, recipe.rated_params, recipe.num_rated or len(test)
    )
    metrics |= plane.divergences(model, data)
    metrics |= latents.figures(model, test)
    return metrics


def _usable(model: GenerativeModel, recipe: Recipe) -> None:
    """Raises ValueError for params that would be refused when hours of training are over."""
    asked = {"sample": recipe.compared_params, "log_likelihood": recipe.rated_params}
    for name, ways in asked.items():
        for changes in ways.values():
            operation = model.operations()[name]
            inputs = {"seed", *(["x"] if operation.needs_events else [])}
            inputs |= {"label"} if operation.takes_label else set()
            operation.check(inputs, params_of(operation, changes))


def _same_settings(folder: Path, recipe: Recipe) -> None:
    """Going on with other settings would make a model that no command describes."""
    path = folder / "settings.json"
    settings = json.loads(json.dumps(_of_weights(asdict(recipe))))
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=2))
    elif _of_weights(_completed(json.loads(path.read_text()), recipe)) != settings:
        raise ValueError(f"{folder} holds a run with other settings: remove it, or use --runs")


def _completed(settings: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """With the defaults of what the family's config has gained since the run began."""
    defaults = json.loads(json.dumps(asdict(type(recipe.config)())))
    return {**settings, "config": {**defaults, **settings["config"]}}


def _of_weights(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those that decide the weights, of a recipe or of a run that an earlier version began."""
    found = {k: v for k, v in settings.items() if k not in _AFTER}
    found["config"] = {k: v for k, v in settings["config"].items() if k not in _OF_SAMPLING}
    return found


def provenance_of(recipe: Recipe, data: Dataset, command: str) -> dict[str, str]:
    """Where a bundle comes from, as its `provenance`."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "dataset": data.source,
        "dataset_name": data.name,
        "split": data.split_rule,
        "command": command,
        "commit": commit or "unknown",
        "seed": str(recipe.seed),
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__.split("+")[0],
    }
