"""From trained parts to a screen: fit references and z-values, calibrate, measure, write."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from models.core.bundle.bundle import Bundle, halved, load, save
from models.core.bundle.onnx import served
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.calibration.group import z_covariance
from models.core.contract.model import Servable
from models.core.contract.operation import run
from models.core.contract.rows import Rows, concat
from models.core.ood.register import SCORES
from models.core.screen.config import Config, Part
from models.core.screen.model import Screen
from training.data import splits
from training.data.splits import Dataset, Split, as_events
from training.export import export
from training.fit.recipe import recipe
from training.measure.test_split import ALPHA
from training.pipeline.make import provenance_of, trained
from training.pipeline.screen_recipe import ScreenRecipe
from training.report.screen_card import screen_card

_BATCH = 64
_MOST_FIRST = 2000
"""Images of the first half: more sharpen p-values rather than references."""


def make_screen(name: str, screen: ScreenRecipe, runs: Path, out: Path, command: str) -> Path:
    """The finished bundle's folder; parts that are no bundles yet are trained first.

    Raises DataError for bad data, ValueError for parts that do not fit, Diverged if training fails.
    """
    base = screen.base
    data = splits.load(base.dataset, invert=base.invert, **base.form)
    parts = {part: _part(of, screen.seed, data, runs, out) for part, of in screen.parts.items()}
    config = Config(
        event_shape=data.splits["train"].x.shape[1:],
        parts=tuple(Part(name=part, **about) for part, (about, _) in parts.items()),
        components=screen.components,
        classifier=screen.classifier,
        num_classes=len(data.class_names) if screen.classifier else 0,
        screens=screen.screens,
    )
    model = Screen(config)
    for part, (_, weights) in parts.items():
        model.part(part).load_state_dict(weights)
    model.eval().requires_grad_(False)
    bundle = Bundle(
        name=name,
        family="screen",
        kind="screen",
        config=asdict(config),
        weights=halved(model.state_dict()),
        preprocessing=Preprocessing(invert=base.invert, **base.form),
        class_names=data.class_names if screen.classifier else (),
        provenance=provenance_of(base, data, command),
        # Not those of classify alone: they would hold the classifier a second time.
        graphs={graph: export(model.graphs()[graph]) for graph in model.scoring_graphs},
    )
    first, second = halves(data.splits["validation"].x, data.splits["calibration"].x)
    bundle = recalibrated(bundle, first, second)
    source = f"{len(second):,} held-out images of {data.name}"
    bundle = replace(bundle, calibration_source=source)
    bundle = replace(bundle, metrics=_false_alarms(bundle, data.splits["test"]))
    extras = {"README.md": screen_card(bundle, data.name).encode()}
    return save(bundle, out / name, extras)


def halves(
    validation: np.ndarray, calibration: np.ndarray, most: int = _MOST_FIRST
) -> tuple[np.ndarray, np.ndarray]:
    """Images for references and z-values, and images for p-values: as many as there are.

    The first of the validation split chose among weights, so they are of the first half.
    Shapes: (N, ...), (M, ...) -> (A, ...), (N + M - A, ...).
    """
    return validation[:most], np.concatenate([validation[most:], calibration])


def recalibrated(bundle: Bundle, x_first: np.ndarray, x_second: np.ndarray) -> Bundle:
    """The screen with references and z-values of the first images, calibrated on the second.

    The halves must be disjoint, or the scores would be fitted to what calibrates them. Shapes:
    uint8 (N, C, H, W) each. Raises ValueError if there are too few images or they lack variety.
    """
    # Scores may have changed since they were fitted: that is mended here.
    given = served(_with_weights(bundle, witnessed=torch.zeros_like(bundle.weights["witnessed"])))
    assert isinstance(given, Screen), "only screens are calibrated in two halves"
    first = looked_at(given, x_first)
    references = [
        torch.as_tensor(SCORES[c.score].fitted(given.rows_of(c, first)), dtype=torch.float64)
        for c in given.components
    ]
    components = [
        replace(c, num_references=r.numel())
        for c, r in zip(given.components, references, strict=True)
    ]
    config = replace(
        given.config,
        parts=tuple(given.config.all_parts),
        components=tuple(components),
        num_fitted=len(x_first),
    )
    model = Screen(config)
    weights = {k: v for k, v in given.state_dict().items() if k.startswith("parts.")}
    model.load_state_dict(weights, strict=False)
    model.references.copy_(torch.cat([r.flatten() for r in references]))
    model.fit_knots(model.raw_scores(first))
    changed = replace(
        bundle,
        config=asdict(config),
        weights=halved(model.state_dict()),
        calibrations={},
    )
    scorer = served(changed)
    assert isinstance(scorer, Screen), "a screen stays one"
    with torch.no_grad():
        changed = _with_weights(changed, witnessed=scorer.known_z_values())
    z = model.z_values(model.raw_scores(first))
    second = screened(scorer, x_second)
    calibration = Calibration.fit(second["score"], z_covariance(z), second["z"], second["category"])
    return replace(changed, calibrations={"screen": calibration})


def _with_weights(bundle: Bundle, **changes: Tensor) -> Bundle:
    return replace(bundle, weights={**bundle.weights, **changes})


@torch.no_grad()
def screened(model: Servable, x: np.ndarray) -> Rows:
    """Columns of the operation `screen`, with a progress bar. Shapes: uint8 (N, C, H, W)."""
    operation = model.operations()["screen"]
    return _batched(
        lambda events: run(operation, {"x": events}, operation.default_params), x, "screening"
    )


@torch.no_grad()
def looked_at(screen: Screen, x: np.ndarray) -> Rows:
    """What the parts say of images, by part.column. Shapes: uint8 (N, C, H, W)."""
    return _batched(screen.columns, x, "looking")


def _batched(function: Any, x: np.ndarray, title: str) -> Rows:
    starts = track(range(0, len(x), _BATCH), title, transient=True, disable=len(x) < 4 * _BATCH)
    return concat([function(as_events(x[start : start + _BATCH])) for start in starts])


def _part(
    of: str, seed: int, data: Dataset, runs: Path, out: Path
) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Family, config and source of a part, and its weights: of a bundle, or trained here."""
    if (out / of / "bundle.json").exists() and not seed:
        bundle = load(out / of)
        source = f"{bundle.name}@{bundle.version}"
        return {"family": bundle.family, "config": bundle.config, "source": source}, bundle.weights
    chosen = replace(recipe(of), seed=seed)
    model, _ = trained(chosen, data, runs / (f"{of}-seed-{seed}" if seed else of))
    config = asdict(chosen.config_for(data))
    return {"family": chosen.family, "config": config, "source": of}, model.state_dict()


def _false_alarms(bundle: Bundle, test: Split) -> dict[str, float]:
    """On the test split, at ALPHA and a fifth of it."""
    p_value = bundle.calibrations["screen"].p_value(screened(served(bundle), test.x)["score"])
    return {
        "num_test_images": float(len(test)),
        **{
            f"test_false_alarm_rate_screen_at_alpha_{alpha:g}": float(
                (p_value <= alpha).double().mean()
            )
            for alpha in (ALPHA, ALPHA / 5)
        },
    }
