"""A whole bundle of a tiny model, and ways to spoil it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from models.core.bundle.bundle import Bundle, half_rounded, halved
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from tests.support.models.tiny import random_energy_model


def small_bundle(**changes: Any) -> Bundle:
    """A whole bundle of a tiny model, with something in every field."""
    model = random_energy_model()
    half_rounded(model)
    bundle = Bundle(
        name="tiny",
        family="jem",
        config=vars(model.config),
        weights=halved(model.state_dict()),
        preprocessing=Preprocessing(8, 8, invert=True, background=7),
        class_names=("a", "b", "c"),
        calibrations={
            "energy_typicality": Calibration.fit(torch.rand(20), 1.5),
            "energy": Calibration.fit(torch.randn(30), -0.5),
        },
        calibration_source="30 images",
        metrics={"test_accuracy": 0.9},
        provenance={"dataset": "none", "date": "2026-01-01"},
        graphs={"logits": b"not really ONNX"},
    )
    return replace(bundle, **changes)


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """The same folder with another bundle.json."""
    path = folder / "bundle.json"
    text = json.loads(path.read_text())
    edit(text)
    path.write_text(json.dumps(text))
    return folder


def replaced(folder: Path, name: str, data: bytes) -> Path:
    """The same folder with another file, and its right checksum."""
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return edited(folder, lambda text: text["files_sha256"].update({name: digest}))
