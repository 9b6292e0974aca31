"""Sampling over HTTP: seeds, starts, and every form of the answer."""

import base64
import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.core.contract.operation import run
from service.schema import responses
from tests.support.service.apps import Client
from tests.support.service.models import inputs
from tests.support.service.pictures import png
from tests.support.service.reference import JEM, X


def test_the_same_seed_gives_the_same_samples(client: Client) -> None:
    body = {"num_samples": 3, "seed": 7, "format": "arrays"}
    first, second = (client.post("/sample", json=body).json() for _ in range(2))
    assert first["samples"] == second["samples"]
    assert first["seed"] == 7
    fewer = client.post("/sample", json={**body, "num_samples": 1}).json()
    np.testing.assert_allclose(fewer["samples"][0], first["samples"][0], atol=1e-4)
    responses.SampleAnswer.model_validate(first)


def test_a_random_seed_is_told_and_can_be_repeated(client: Client) -> None:
    first = client.post("/sample", json={}).json()
    assert 0 <= first["seed"] < 2**53
    assert (
        client.post("/sample", json={"seed": first["seed"]}).json()["samples"] == first["samples"]
    )
    assert client.post("/sample", json={}).json()["seed"] != first["seed"]


def test_samples_match_the_operation_alone(client: Client) -> None:
    operation: Any = JEM.operations()["sample"]
    params = operation.params(num_steps=5, start="noise")
    expected = run(operation, inputs(4, seed=11, label=torch.full((4,), 2)), params)["x"]
    body = {"num_samples": 4, "seed": 11, "label": "star", "format": "arrays"}
    answer = client.post("/sample", json={**body, "params": {"num_steps": 5, "start": "noise"}})
    np.testing.assert_allclose(answer.json()["samples"], expected.numpy(), atol=1e-4)
    assert answer.json()["label"] == "star"
    assert answer.json()["params"]["num_steps"] == 5
    assert answer.json()["kind"] == "unnormalised"


def test_samples_in_every_form(client: Client) -> None:
    body = {"num_samples": 5, "seed": 1}
    tiles = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
        for text in client.post("/sample", json=body).json()["samples"]
    ]
    forms = {
        accept: client.post("/sample", json=body, headers={"accept": accept})
        for accept in ("image/png", "application/zip", "application/x-npz")
    }
    for accept, response in forms.items():
        assert response.headers["content-type"] == accept
        assert response.headers["x-seed"] == "1"
        assert response.headers["x-model"].startswith("jem@")
    grid = np.asarray(Image.open(io.BytesIO(forms["image/png"].content)))
    assert grid.shape == (18, 28)
    assert np.array_equal(grid[10:18, 10:18], tiles[4])
    archive = zipfile.ZipFile(io.BytesIO(forms["application/zip"].content))
    assert len(archive.namelist()) == 5
    third = np.asarray(Image.open(io.BytesIO(archive.read("sample_0002.png"))))
    assert np.array_equal(third, tiles[2])
    arrays = np.load(io.BytesIO(forms["application/x-npz"].content))
    assert arrays["x"].shape == (5, 1, 8, 8)
    assert int(arrays["seed"]) == 1


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", "application/json"),
        ("image/*", "image/png"),
        ("text/html, application/zip;q=0.5", "application/zip"),
        ("application/json;q=0.1, image/png", "image/png"),
        ("image/png;q=0, */*;q=0.1", "application/json"),
    ],
)
def test_the_form_that_the_client_likes_best(client: Client, accept: str, expected: str) -> None:
    response = client.post("/sample", json={}, headers={"accept": accept})
    assert response.headers["content-type"] == expected


def test_chains_that_start_at_the_data(client: Client) -> None:
    params = {"start": "data", "num_steps": 1, "step_size": 1e-6, "noise_scale": 0}
    body = {"instances": X.tolist(), "params": params, "format": "arrays"}
    samples = client.post("/sample", json=body).json()["samples"]
    np.testing.assert_allclose(samples, X.numpy(), atol=1e-3)
    one = {**body, "instances": X[:1].tolist(), "num_samples": 4}
    assert len(client.post("/sample", json=one).json()["samples"]) == 4
    text = base64.b64encode(png()).decode()
    pictures = {"images": [text], "params": params, "format": "arrays"}
    np.testing.assert_allclose(
        client.post("/sample", json=pictures).json()["samples"], X[:1].numpy(), atol=1e-3
    )
