"""Screening: calibrated scores, decisions, and the verdict about several images together."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.core.bundle.bundle import save
from models.core.calibration.conformal import Calibration
from models.core.ood.register import SCORES, Score
from service.settings import Settings
from tests.support.service.apps import Client, play, running
from tests.support.service.bundles import CLASS_NAMES, make_bundle
from tests.support.service.models import images
from tests.support.service.pictures import PNG_HEADERS, png
from tests.support.service.reference import JEM, X, alone


def test_ood_score_is_the_rank_among_the_calibration_scores(client: Client) -> None:
    response = client.post("/ood_score", json={"instances": X.tolist(), "alpha": 0.1}).json()
    calibration_energies = alone("energy", images(99, JEM.event_shape, seed=5))["energy"]
    energies = alone("energy")["energy"]
    for result, energy in zip(response["results"], energies, strict=True):
        rank = (1 + int((calibration_energies >= energy).sum())) / 100
        assert result["p_value"] == pytest.approx(rank)
        assert result["is_ood"] == (rank <= 0.1)
        assert result["is_ood"] == (result["score"] > result["threshold"])
        assert result["score_name"] == "energy"
        assert result["alpha"] == 0.1
    assert response["calibration"]["num_images"] == 99
    assert response["calibration"]["source"] == "99 images of noise"
    assert "0.1" in response["calibration"]["guarantee"]
    assert response["batch"]["method"] == "benjamini-hochberg"
    assert len(response["batch"]["adjusted_p_values"]) == 3


def test_another_score_has_its_own_calibration(client: Client) -> None:
    x = images(12, JEM.event_shape, seed=9) * 0.2
    calibration_energies = alone("energy", images(99, JEM.event_shape, seed=5))["energy"]
    median = calibration_energies.median()
    scores = (alone("energy", x)["energy"] - median).abs()
    body = {"instances": x.tolist(), "score": "energy_typicality", "alpha": 0.2}
    response = client.post("/ood_score", json=body).json()
    assert response["calibration"]["score_name"] == "energy_typicality"
    for result, score in zip(response["results"], scores, strict=True):
        assert result["score"] == pytest.approx(float(score), abs=1e-4)
    rejected = response["batch"]["rejected"]
    assert response["batch"]["num_rejected"] == sum(rejected)
    assert rejected == [p <= 0.2 for p in response["batch"]["adjusted_p_values"]]


def test_a_single_image_has_no_batch_verdict(client: Client) -> None:
    response = client.post("/ood_score?alpha=0.5", content=png(), headers=PNG_HEADERS).json()
    assert response["batch"] is None
    assert response["results"][0]["alpha"] == 0.5


def test_classify(client: Client) -> None:
    response = client.post("/classify", json={"instances": X.tolist(), "alpha": 0.3}).json()
    probabilities = alone("classify")["probabilities"]
    for i, result in enumerate(response["results"]):
        assert result["label_index"] == int(probabilities[i].argmax())
        assert result["label"] == CLASS_NAMES[result["label_index"]]
        assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert result["decision"] == ("uncertain" if result["p_value"] <= 0.3 else "accept")
    assert response["note"] is None


def test_classify_without_calibration_decides_nothing_and_says_why(client: Client) -> None:
    response = client.post("/classify?model=jem_raw", content=png(), headers=PNG_HEADERS).json()
    assert response["results"][0]["label"] in CLASS_NAMES
    assert response["results"][0]["decision"] is None
    assert response["results"][0]["p_value"] is None
    assert response["calibration"] is None
    assert "calibration" in response["note"]


def test_a_score_from_another_operation_is_run_beside_the_classification(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = Score("log_likelihood", ("log_prob",), "nats", "", lambda rows, _: -rows["log_prob"])
    monkeypatch.setitem(SCORES, "nll", score)
    calibrations = {"nll": Calibration.fit(alone("energy", images(99, JEM.event_shape))["energy"])}
    bundle = replace(make_bundle("jem", "jem", JEM), calibrations=calibrations)
    save(bundle, tmp_path / "jem")

    async def story() -> None:
        async with running(settings.model_copy(update={"bundles": (str(tmp_path),)})) as client:
            classified = await client.post("/classify", content=png(), headers=PNG_HEADERS)
            scored = await client.post("/ood_score", content=png(), headers=PNG_HEADERS)
            result = classified.json()["results"][0]
            assert result["score_name"] == "nll"
            assert result["p_value"] == scored.json()["results"][0]["p_value"]

    play(story())
