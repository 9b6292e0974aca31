"""Drift over HTTP: what is counted, when it alarms, and how it begins anew."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.core.calibration.conformal import Calibration
from models.core.calibration.martingale import Martingale
from models.core.calibration.online_conformal import OnlineRanks
from service.settings import Settings
from tests.support.service.apps import Client, client_of, play, running
from tests.support.service.models import images
from tests.support.service.pictures import PNG_HEADERS, png
from tests.support.service.reference import JEM, alone

ALPHA = 0.01
STRANGERS = (torch.arange(8) < 3).float().expand(30, 1, 8, 8)
"""Thirty times a stripe on the left, which the tiny model finds stranger than any noise."""
LABELS = '{model="jem",score="energy"}'


def noise(num: int, seed: int) -> torch.Tensor:
    """Images like those that the tiny bundles are calibrated by."""
    return images(num, JEM.event_shape, seed)


@pytest.fixture(scope="module")
def small(settings: Settings, bundles: Path) -> Settings:
    """One calibrated model, and a short window."""
    urls = (str(bundles / "jem"), str(bundles / "jem_raw"))
    update = {"bundles": urls, "backend": "torch", "drift_window": 20, "drift_alpha": ALPHA}
    return settings.model_copy(update=update)


@pytest.fixture(scope="module")
def fresh(small: Settings) -> Iterator[Client]:
    """A client of an app that has seen nothing."""
    with client_of(small) as client:
        yield client


@pytest.fixture
def drifting(fresh: Client) -> Client:
    """The same app, told to forget."""
    for score in ("energy", "energy_typicality"):
        fresh.post(f"/models/jem/drift/reset?score={score}")
    return fresh


def metric(client: Client, name: str) -> float:
    """The value of this line of /metrics, 0 if there is none."""
    lines = client.get("/metrics").text.splitlines()
    return float(next((line.split()[-1] for line in lines if line.startswith(name + " ")), 0))


def screen(client: Client, x: torch.Tensor, **fields: object) -> list[float]:
    """The p-values of /ood_score."""
    response = client.post("/ood_score", json={"instances": x.tolist(), **fields})
    assert response.status_code == 200
    return [result["p_value"] for result in response.json()["results"]]


def test_before_the_first_image_all_is_quiet(fresh: Client) -> None:
    found = fresh.get("/models/jem/drift").json()
    assert found["model"].startswith("jem@")
    assert found["score_name"] == "energy"
    assert found["source"] == "99 images of noise"
    assert found["num_calibration"] == 99
    assert found["num_seen"] == 0
    assert found["window"] == {
        "size": 20,
        "num_images": 0,
        "histogram": [0] * 10,
        "expected": [0] * 10,
        "at_most": [
            {"p_value": 0.05, "share": None, "expected": 0.05},
            {"p_value": 0.01, "share": None, "expected": 0.01},
        ],
        "kolmogorov_smirnov": None,
    }
    test = found["test"]
    assert (test["log10_value"], test["log10_max"], test["log10_threshold"]) == (0, 0, 2)
    assert (test["alarmed"], test["alarmed_at"], test["alpha"]) == (False, None, ALPHA)
    assert "99 calibration images" in test["guarantee"]
    assert "at most 0.01" in test["guarantee"]


def test_what_was_screened_is_the_stream(drifting: Client) -> None:
    x = torch.cat([noise(12, seed=1), noise(18, seed=2) * 0.7])
    p_values = screen(drifting, x[:12]) + screen(drifting, x[12:])
    found = drifting.get("/models/jem/drift").json()
    assert found["num_seen"] == 30
    window, last = found["window"], np.array(p_values[10:])
    assert window["num_images"] == 20
    edges = [-0.5, *(10 * k + 0.5 for k in range(1, 10)), 101]  # in hundredths, which they are
    assert window["histogram"] == np.histogram(last * 100, edges)[0].tolist()
    assert window["expected"] == [2] * 10
    assert window["at_most"][0]["share"] == pytest.approx(float((last < 0.055).mean()))
    calibration = Calibration.fit(alone("energy", noise(99, seed=5))["energy"])
    martingale = Martingale(ALPHA)
    martingale.bet(OnlineRanks(calibration).rank(alone("energy", x)["energy"]).p_value)
    expected = martingale.log_value / np.log(10), martingale.log_max / np.log(10)
    test = found["test"]
    assert (test["log10_value"], test["log10_max"]) == pytest.approx(expected, abs=1e-4)


def test_strangers_alarm_after_peace_and_a_reset_begins_anew(drifting: Client) -> None:
    alarms = "likely_drift_alarms_total" + LABELS
    count = 'likely_p_value_bucket{le="1.0",model="jem",score="energy"}'
    before = metric(drifting, alarms), metric(drifting, count)
    for seed in range(10, 16):
        screen(drifting, noise(40, seed))
    quiet = drifting.get("/models/jem/drift").json()
    assert quiet["num_seen"] == 240
    assert not quiet["test"]["alarmed"]
    assert metric(drifting, "likely_drift_alarmed" + LABELS) == 0
    assert quiet["window"]["kolmogorov_smirnov"]["p_value"] > 0.01
    assert max(screen(drifting, STRANGERS)) <= 0.01
    loud = drifting.get("/models/jem/drift").json()
    test = loud["test"]
    assert test["alarmed"]
    assert 240 < test["alarmed_at"] < 270
    assert test["log10_max"] >= test["log10_threshold"]
    assert loud["window"]["histogram"] == [20] + [0] * 9
    assert loud["window"]["at_most"][1] == {"p_value": 0.01, "share": 1.0, "expected": 0.01}
    assert loud["window"]["kolmogorov_smirnov"]["statistic"] > 0.9
    assert loud["window"]["kolmogorov_smirnov"]["p_value"] < 1e-6
    assert metric(drifting, alarms) == before[0] + 1
    assert metric(drifting, count) == before[1] + 270
    assert metric(drifting, "likely_drift_alarmed" + LABELS) == 1
    capital = metric(drifting, "likely_drift_log10_martingale" + LABELS)
    assert capital == pytest.approx(test["log10_value"], rel=1e-5)

    anew = drifting.post("/models/jem/drift/reset").json()
    assert anew == drifting.get("/models/jem/drift").json()
    assert anew["num_seen"] == 0
    assert not anew["test"]["alarmed"]
    assert metric(drifting, "likely_drift_alarmed" + LABELS) == 0
    assert metric(drifting, "likely_drift_log10_martingale" + LABELS) == 0
    assert metric(drifting, alarms) == before[0] + 1
    screen(drifting, STRANGERS)
    assert metric(drifting, alarms) == before[0] + 2


def test_an_alarm_stays_when_all_is_well_again(drifting: Client) -> None:
    screen(drifting, STRANGERS)
    at = drifting.get("/models/jem/drift").json()["test"]["alarmed_at"]
    for seed in range(20, 26):
        screen(drifting, noise(40, seed))
    test = drifting.get("/models/jem/drift").json()["test"]
    assert test["alarmed"]
    assert test["alarmed_at"] == at
    assert test["log10_max"] > test["log10_value"]


def test_classifications_count_and_other_scores_have_their_own_stream(drifting: Client) -> None:
    drifting.post("/classify", content=png(), headers=PNG_HEADERS)
    screen(drifting, noise(3, seed=1), score="energy_typicality")
    screen(drifting, noise(2, seed=2), guarantee="pac", alpha=0.2)
    first = drifting.get("/models/jem/drift").json()
    second = drifting.get("/models/jem/drift?score=energy_typicality").json()
    assert (first["score_name"], first["num_seen"]) == ("energy", 3)
    assert (second["score_name"], second["num_seen"]) == ("energy_typicality", 3)
    label = first["model"]
    drifting.post(f"/models/{label}/drift/reset?score=energy_typicality")
    assert drifting.get(f"/models/{label}/drift").json() == first
    assert drifting.get("/models/jem/drift?score=energy_typicality").json()["num_seen"] == 0


def test_requests_that_fail_or_decide_nothing_do_not_count(drifting: Client) -> None:
    name = 'likely_p_value_count{model="jem",score="energy"}'
    before = metric(drifting, name)
    assert drifting.post("/ood_score?alpha=0.001", content=png(), headers=PNG_HEADERS).is_error
    assert drifting.post("/ood_score", json={"instances": [[1]]}).is_error
    drifting.post("/energy", content=png(), headers=PNG_HEADERS)
    drifting.post("/classify?model=jem_raw", content=png(), headers=PNG_HEADERS)
    assert drifting.get("/models/jem/drift").json()["num_seen"] == 0
    assert metric(drifting, name) == before


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("path", "query", "status", "slug", "accepted"),
    [
        ("nobody", "", 404, "unknown-model", "jem@"),
        ("jem@0", "", 404, "unknown-model", "jem@"),
        ("jem_raw", "", 422, "not-calibrated", "calibration"),
        ("jem", "?score=luck", 422, "invalid-request", "energy, energy_typicality"),
        ("jem", f"?score={'a' * 65}", 422, "invalid-request", "64"),
    ],
)
def test_bad_names(
    fresh: Client, method: str, path: str, query: str, status: int, slug: str, accepted: str
) -> None:
    url = f"/models/{path}/drift" + ("/reset" if method == "POST" else "")
    response = fresh.request(method, url + query)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"].endswith(slug)
    assert accepted in response.json()["detail"]


def test_both_endpoints_are_documented(fresh: Client) -> None:
    paths = fresh.get("/openapi.json").json()["paths"]
    for found in (
        paths["/models/{name}/drift"]["get"],
        paths["/models/{name}/drift/reset"]["post"],
    ):
        assert {"200", "404", "422", "503"} <= set(found["responses"])
        content = found["responses"]["200"]["content"]["application/json"]
        assert content["schema"]["$ref"].endswith("/DriftAnswer")
        assert [p["name"] for p in found["parameters"]] == ["name", "score"]


def test_images_of_requests_at_the_same_time_count_once_each(small: Settings) -> None:
    async def story() -> None:
        async with running(small) as client:
            bodies = [{"instances": noise(1 + i % 3, seed=i).tolist()} for i in range(30)]
            posts = [client.post("/ood_score", json=body) for body in bodies]
            looks = [client.get("/models/jem/drift") for _ in range(10)]
            answers = await asyncio.gather(*posts, *looks)
            assert all(answer.status_code == 200 for answer in answers)
            found = (await client.get("/models/jem/drift")).json()
            assert found["num_seen"] == 60
            assert found["window"]["num_images"] == 20
            assert sum(found["window"]["histogram"]) == 20

    play(story())
