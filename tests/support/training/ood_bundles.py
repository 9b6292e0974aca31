"""Tiny calibrated bundles about digits of 8 x 8 pixels, and pictures for them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models.core.bundle.bundle import Bundle, halved
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.operation import run
from tests.support.models.bundles import small_bundle
from tests.support.models.screens import tiny_screen
from training.data.splits import Dataset, as_events, load
from training.measure.calibrate import calibrate

FORM = Preprocessing(8, 8)


def digits() -> Dataset:
    """The set that comes with scikit-learn."""
    return load("digits", height=8, width=8)


def plain_bundle(**changes: Any) -> Bundle:
    """Of random weights, with two scores calibrated on digits."""
    data, bundle = digits(), replace(small_bundle(), graphs={}, preprocessing=FORM)
    bundle = replace(bundle, class_names=data.class_names[:3])
    names = ("energy", "energy_typicality")
    splits = data.splits["calibration"], data.splits["validation"]
    calibrations = calibrate(bundle.build(), names, *splits)
    source = f"{len(splits[0])} held-out images of digits"
    about = {"dataset": data.source}
    bundle = replace(bundle, calibrations=calibrations, calibration_source=source, provenance=about)
    return replace(bundle, **changes)


def screen_bundle() -> Bundle:
    """Of random weights, with z-values of random images, calibrated on 40 digits."""
    screen = tiny_screen(60)
    found = replace(
        plain_bundle(),
        kind="screen",
        family="screen",
        config=asdict(screen.config),
        weights=halved(screen.state_dict()),
        calibrations={},
    )
    model, x = found.build(), digits().splits["calibration"].x[:40]
    operation = model.operations()["screen"]
    with torch.no_grad():
        rows = run(operation, {"x": as_events(x)}, operation.default_params)
    calibration = Calibration.fit(rows["score"], 0.0, rows["z"], rows["category"])
    return replace(found, calibrations={"screen": calibration})


def write_pictures(folder: Path, x: np.ndarray) -> list[Path]:
    """PNG files 000.png, 001.png, ... Shape: uint8 (N, 1, H, W)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03d}.png" for i in range(len(x))]
    for path, image in zip(paths, x, strict=True):
        Image.fromarray(image[0]).save(path)
    return paths
