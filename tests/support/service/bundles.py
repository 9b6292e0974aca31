"""Bundles of tiny energy models, calibrated on noise."""

import torch

from models.core.bundle.bundle import Bundle
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import run
from tests.support.service.models import images, inputs

CLASS_NAMES = ("circle", "square", "star")


def make_bundle(name: str, family: str, model: GenerativeModel, calibrated: bool = True) -> Bundle:
    """A bundle whose calibration set is random noise."""
    calibrations = {}
    if calibrated:
        x = images(99, model.event_shape, seed=5)
        columns = inputs(99, x=x, label=torch.full((99,), -1))
        energy = run(model.operations()["energy"], columns, None)["energy"]
        median = float(energy.median())
        calibrations = {
            "energy": Calibration.fit(energy),
            "energy_typicality": Calibration.fit((energy - median).abs(), median),
        }
    return Bundle(
        name=name,
        family=family,
        config=vars(model.config),
        weights=model.state_dict(),
        preprocessing=Preprocessing(height=8, width=8),
        class_names=CLASS_NAMES[: model.num_classes],
        calibrations=calibrations,
        calibration_source="99 images of noise" if calibrated else "",
        metrics={"accuracy": 0.25},
        provenance={"dataset": "noise"},
    )
