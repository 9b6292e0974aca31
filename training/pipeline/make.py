"""From a recipe to a bundle: train, round, calibrate, evaluate, export, write."""

import logging
import subprocess
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from models.core.bundle.bundle import Bundle, half_rounded, halved, save
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import build
from models.core.contract.model import GenerativeModel
from training.data.form import form_of
from training.data.sources import SOURCES
from training.data.splits import DataError, Dataset, Split, load, load_test
from training.export import export
from training.fit.recipe import Recipe, params_of
from training.fit.trainer import RunState, fit
from training.measure import plane, test_split
from training.measure.calibrate import calibrate
from training.measure.classifier import train_classifier
from training.measure.fid import feature_fids
from training.measure.likelihood import likelihood
from training.measure.own_figures import own_figures
from training.pipeline import run_settings
from training.pipeline.data_checks import check_data
from training.report import pictures
from training.report.card import model_card

_LOG = logging.getLogger(__name__)
_NAMED_FORM = (28, 28, 1)
"""Of a named set whose form a recipe leaves open."""
_OTHERS = 2000  # images of another set: AUROC to about 0.01
_SEEN_BY_CLASSIFIER = 20  # samples of each class


def make(name: str, recipe: Recipe, runs: Path, out: Path, command: str) -> Path:
    """The finished bundle's folder. Raises DataError for bad data, Diverged if training fails."""
    recipe = _fitted_to_folder(recipe)
    form = recipe.form
    data = load(recipe.dataset, invert=recipe.invert, **form)
    check_data(recipe, data)
    others, left_out = _others(recipe)
    folder = runs / name
    model, state = trained(recipe, data, folder)
    panel = test_split.Panel(data.splits["test"], others)
    metrics = _metrics(model, data, state, folder, recipe)
    calibrations = calibrate(
        model, recipe.ood_scores, data.splits["calibration"], data.splits["validation"]
    )
    scored = test_split.scored(model, calibrations, panel)
    metrics |= test_split.screening(calibrations, scored, panel)
    things = "images" if recipe.height else "rows"
    bundle = Bundle(
        name=name,
        family=recipe.family,
        config=asdict(recipe.config_for(data)),
        weights=halved(model.state_dict()),
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
    files = pictures.samples(model, data)
    card = model_card(
        bundle,
        data,
        model.num_parameters,
        model,
        tuple(files),
        recipe.objective.sees_data,
        recipe.objective.note(recipe.objective_settings),
        left_out,
    )
    extras = {
        **files,
        "README.md": card.encode(),
    }
    for score, calibration in calibrations.items():
        extras[f"report/histogram_{score}.png"] = pictures.histogram(
            score, calibration, scored[score], data.name
        )
    if (log := pictures.curves(folder / "log" / "metrics.csv")) is not None:
        extras["report/training.png"] = log
    return save(bundle, out / name, extras)


def _fitted_to_folder(recipe: Recipe) -> Recipe:
    """With the size and the colours of a folder's pictures where none are set."""
    folder = Path(recipe.dataset).expanduser()
    if recipe.num_channels or not (recipe.dataset in SOURCES or folder.is_dir()):
        return recipe
    height, width, channels = _NAMED_FORM if recipe.dataset in SOURCES else form_of(folder)
    fitted = replace(
        recipe,
        height=recipe.height or height,
        width=recipe.width or width,
        num_channels=channels,
    )
    _LOG.info(
        "%s: %d x %d pixels (width x height), %s, from the pictures",
        *(folder.name, fitted.width, fitted.height, "colour" if channels == 3 else "grey"),
    )
    return fitted


def _others(recipe: Recipe) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Other sets of the report, and the names of those that cannot be had, before any training.

    Raises DataError for what is neither a named set nor a folder: it is misspelt.
    """
    others, left_out = {}, []
    for name, invert in recipe.ood_sets.items():
        try:
            others[name] = load_test(name, invert=invert, limit=_OTHERS, **recipe.form)
        except DataError as error:
            if name not in SOURCES:
                raise
            left_out.append(name)
            _LOG.warning("the report goes without %s: %s", name, error)
    return others, tuple(left_out)


def trained(recipe: Recipe, data: Dataset, folder: Path) -> tuple[GenerativeModel, RunState]:
    """The model, its weights as they will be stored; goes on where a run in `folder` was cut off.

    Raises ValueError for params that the model refuses and runs with other settings, DataError
    for runs with other data, Diverged if training fails.
    """
    torch.manual_seed(recipe.seed)
    model = build(recipe.family, vars(recipe.config_for(data)))
    assert isinstance(model, GenerativeModel)
    _usable(model, recipe)
    run_settings.hold(folder, recipe, data.fingerprint)
    state = fit(recipe, model, data.splits["train"], folder, data.splits["validation"])
    model.eval().requires_grad_(False)
    half_rounded(model)
    return model, state


def _metrics(
    model: GenerativeModel, data: Dataset, state: RunState, folder: Path, recipe: Recipe
) -> dict[str, float]:
    """Figures that need no other data set."""
    test, report = data.splits["test"], recipe.report
    things = "images" if recipe.height else "rows"
    metrics = {f"num_test_{things}": float(len(test)), "num_restarts": float(state.num_restarts)}
    metrics |= test_split.classification(model, test)
    takes_label = model.num_classes and model.operations()["sample"].takes_label
    if takes_label or report.compared_params:
        num_classes = len(data.class_names)
        classifier = train_classifier(data.splits["train"], num_classes, folder, report.judge_steps)
        metrics |= test_split.classifier_accuracy(classifier, test)
        if takes_label:
            metrics |= test_split.conditional_samples(model, classifier, _SEEN_BY_CLASSIFIER)
        num, beside = report.num_compared, folder / "compared"
        metrics |= feature_fids(model, classifier, data.splits, report.compared_params, num, beside)
    # An energy model's log Z is known from here on, and so are its likelihoods.
    own = own_figures(model, test, report)
    metrics |= likelihood(
        model, data.splits["train"], test, report.rated_params, report.num_rated or len(test)
    )
    return {**metrics, **plane.divergences(model, data), **own}


def _usable(model: GenerativeModel, recipe: Recipe) -> None:
    """Raises ValueError for params that would be refused when hours of training are over."""
    report = recipe.report
    asked = {"sample": report.compared_params, "log_likelihood": report.rated_params}
    for name, ways in asked.items():
        for changes in ways.values():
            operation = model.operations()[name]
            inputs = {"seed", *(["x"] if operation.needs_events else [])}
            inputs |= {"label"} if operation.takes_label else set()
            operation.check(inputs, params_of(operation, changes))


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
