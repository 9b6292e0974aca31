"""The four scoring endpoints: every form in, and the numbers that come out."""

import asyncio
import base64
import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import BaseModel

from service.schema import responses
from service.schema import screening as answers_screen
from tests.support.service.apps import Client
from tests.support.service.bundles import CLASS_NAMES
from tests.support.service.models import images
from tests.support.service.pictures import PNG_HEADERS, deep_png, file, npy, pixels, png
from tests.support.service.reference import JEM, X, alone

SCORING = ("log_likelihood", "energy", "ood_score", "classify")
ANSWERS: dict[str, type[BaseModel]] = {
    "log_likelihood": responses.LogLikelihoodAnswer,
    "energy": responses.EnergyAnswer,
    "ood_score": answers_screen.OodScoreAnswer,
    "classify": answers_screen.ClassifyAnswer,
}


@pytest.mark.parametrize("endpoint", SCORING)
def test_all_forms_of_a_request_get_the_same_answer(client: Client, endpoint: str) -> None:
    url = f"/{endpoint}"
    files = [png(i) for i in range(3)]
    text = [base64.b64encode(data).decode() for data in files]
    batches = [
        client.post(url, files=[("files", (f"{i}.png", d)) for i, d in enumerate(files)]),
        client.post(url, json={"images": text}),
        client.post(url, json={"images": [f"data:image/png;base64,{t}" for t in text]}),
        client.post(url, json={"instances": X.tolist()}),
        client.post(url, content=npy(X.numpy()), headers={"content-type": "application/x-npy"}),
        client.post(
            url,
            content=npy(np.stack([pixels(seed=i)[None] for i in range(3)])),
            headers={"content-type": "application/x-npy"},
        ),
    ]
    for response in batches:
        assert response.status_code == 200, response.text
        ANSWERS[endpoint].model_validate(response.json(), strict=False)
        assert len(response.json()["results"]) == 3
        _assert_same(response.json()["results"], batches[0].json()["results"])
    for i, data in enumerate(files):
        single = client.post(url, content=data, headers=PNG_HEADERS).json()
        _assert_same(single["results"], [batches[0].json()["results"][i]])


def _assert_same(a: Any, b: Any) -> None:
    if isinstance(a, float) and isinstance(b, float):
        assert a == pytest.approx(b, abs=1e-4)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _assert_same(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            _assert_same(left, right)
    else:
        assert a == b


def test_energy(client: Client) -> None:
    results = client.post("/energy", json={"instances": X.tolist()}).json()["results"]
    expected = alone("energy")
    for i, result in enumerate(results):
        assert result["energy"] == pytest.approx(float(expected["energy"][i]), abs=1e-4)
        assert result["kind"] == "unnormalised"
        assert list(result["energies"]) == list(CLASS_NAMES)
        assert result["energies"]["star"] == pytest.approx(float(expected["energies"][i, 2]))


@pytest.mark.parametrize("label", ["square", 1, "1"])
def test_energy_of_a_class_by_name_or_index(client: Client, label: Any) -> None:
    body = {"instances": X.tolist(), "label": label}
    results = client.post("/energy", json=body).json()["results"]
    assert results[0]["energy"] == results[0]["energies"]["square"]


def test_energy_of_a_class_in_query_and_form(client: Client) -> None:
    url = "/energy?label=square"
    raw = client.post(url, content=png(), headers=PNG_HEADERS).json()["results"][0]
    form = client.post("/energy", files={"files": png()}, data={"label": "1"}).json()["results"][0]
    assert raw["energy"] == form["energy"] == raw["energies"]["square"]


def test_a_model_without_classes_has_no_energies_per_class(client: Client) -> None:
    answer = client.post("/energy?model=ebm", content=png(), headers=PNG_HEADERS).json()
    assert answer["model"].startswith("ebm@")
    assert answer["results"][0]["energies"] is None


def test_log_likelihood_is_unnormalised_by_default(client: Client) -> None:
    result = client.post("/log_likelihood", json={"instances": X.tolist()}).json()["results"][0]
    assert result["log_likelihood"] == pytest.approx(-float(alone("energy")["energy"][0]), abs=1e-4)
    assert result["kind"] == "unnormalised"
    assert result["bits_per_dim"] is None
    assert result["standard_error"] is None


@pytest.mark.parametrize("form", ["json", "query", "multipart"])
def test_log_likelihood_by_annealed_importance_sampling(client: Client, form: str) -> None:
    if form == "json":
        body = {"instances": X[:1].tolist(), "params": {"estimator": "ais"}}
        response = client.post("/log_likelihood", json=body)
    elif form == "query":
        url = "/log_likelihood?estimator=ais"
        response = client.post(url, content=png(), headers=PNG_HEADERS)
    else:
        data = {"estimator": "ais"}
        response = client.post("/log_likelihood", files={"files": png()}, data=data)
    result = response.json()["results"][0]
    log_prob = -float(alone("energy")["energy"][0]) - 3.0 - 64 * math.log(256)
    assert result["log_likelihood"] == pytest.approx(log_prob, abs=1e-3)
    assert result["kind"] == "estimate"
    assert result["standard_error"] == 0.25
    assert result["bits_per_dim"] == pytest.approx(-log_prob / (64 * math.log(2)), rel=1e-5)


def test_conversions_are_listed_per_image(client: Client) -> None:
    files = [
        ("files", png()),
        ("files", deep_png()),
        ("files", file(Image.new("CMYK", (9, 9)), "JPEG")),
    ]
    results = client.post("/energy", files=files).json()["results"]
    assert results[0]["converted"] == []
    assert any("I;16" in note for note in results[1]["converted"])
    assert any("CMYK" in note for note in results[2]["converted"])
    assert any("9x9" in note for note in results[2]["converted"])


def test_more_images_than_fit_in_a_step_keep_their_order(client: Client) -> None:
    x = images(40, JEM.event_shape)
    body = npy(x.numpy())
    response = client.post("/energy", content=body, headers={"content-type": "application/x-npy"})
    got = [result["energy"] for result in response.json()["results"]]
    torch.testing.assert_close(torch.tensor(got), alone("energy", x)["energy"], atol=1e-4, rtol=0)


def test_many_different_requests_at_once_get_their_own_answers(client: Client) -> None:
    async def story() -> None:
        asked = []
        for i in range(60):
            body = {"instances": X[: 1 + i % 3].tolist(), "label": i % 3}
            steps = {"num_samples": 1 + i % 4, "seed": i, "params": {"num_steps": 1 + i % 9}}
            asked.append(client.http.post("/energy", json=body))
            asked.append(client.http.post("/sample", json=steps))
        got = await asyncio.gather(*asked)
        for i in range(60):
            energies = [result["energy"] for result in got[2 * i].json()["results"]]
            expected = alone("energy", X[: 1 + i % 3], label=i % 3)["energy"]
            torch.testing.assert_close(torch.tensor(energies), expected, atol=1e-4, rtol=0)
            assert len(got[2 * i + 1].json()["samples"]) == 1 + i % 4
            assert got[2 * i + 1].json()["seed"] == i

    client.runner.run(story())
