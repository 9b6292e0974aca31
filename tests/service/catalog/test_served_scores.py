"""Every score by HTTP: the number that it has offline, and a p-value of its calibration."""

from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.ood.register import SCORES
from service.settings import Settings
from tests.support.models.tiny import events_of, random_model
from tests.support.service.apps import Client, client_of

OFFERED = {
    "jem": (
        *("grad_norm", "grad_norm_typicality", "max_softmax", "entropy", "feature_residual"),
        *("energy", "energy_typicality"),
    ),
    "pixelcnn": ("ic", "scale_ratio", "nll", "typicality"),
    "ddpm": ("score_norms", "recon", "denoising"),
    "realnvp": ("latent_gof", "ic"),
    "vae": ("likelihood_path",),
}
NUM = 60


def columns(model: GenerativeModel, name: str, x: Tensor) -> Rows:
    """What the score's operation gives offline, with the seed of a request that names none."""
    operation = model.operations()[SCORES[name].operation]
    with torch.no_grad():
        seeds = torch.zeros(len(x), dtype=torch.int64)
        return run(operation, {"seed": seeds, "x": x}, operation.default_params)


@cache
def calibrated(family: str) -> Bundle:
    """A bundle of a tiny model with random weights, calibrated by all the scores."""
    model = random_model(family)
    grid, (channels, height, width) = model.grid, model.event_shape
    calibrations = {}
    for name in OFFERED[family]:
        score = SCORES[name]
        reference = score.fitted(columns(model, name, events_of(model, NUM, seed=1)))
        found = columns(model, name, events_of(model, NUM, seed=2))
        calibrations[name] = Calibration.fit(score.compute(found, reference), reference)
    config = getattr(model, "config")  # noqa: B009
    return Bundle(
        name=family,
        family=family,
        config=asdict(config),
        weights=model.state_dict(),
        preprocessing=Preprocessing(
            height, width, channels, levels=grid.num_levels if grid else 256
        ),
        calibrations=calibrations,
        calibration_source=f"{NUM} images of noise",
    )


@pytest.fixture(scope="module")
def scorers(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with these models."""
    folder: Path = tmp_path_factory.mktemp("scorers")
    for family in OFFERED:
        save(calibrated(family), folder / family)
    update = {"bundles": (str(folder),), "default_model": "jem"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.mark.parametrize(
    ("family", "name"), [(family, name) for family, names in OFFERED.items() for name in names]
)
def test_a_score_is_the_same_by_http(scorers: Client, family: str, name: str) -> None:
    model, score = random_model(family), SCORES[name]
    x = events_of(model, 3)
    calibration = calibrated(family).calibrations[name]
    expected = score.compute(columns(model, name, x), calibration.reference)
    body = {"model": family, "score": name, "instances": x.tolist(), "alpha": 0.1}
    response = scorers.post("/ood_score", json=body)
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert [r["score"] for r in results] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-4)
    assert all(r["score_name"] == name for r in results)
    near = calibration.p_value(expected).tolist()
    assert [r["p_value"] for r in results] == pytest.approx(near, abs=1.5 / NUM)
