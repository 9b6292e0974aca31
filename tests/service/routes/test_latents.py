"""Between events and latents over HTTP: every form in and out, and what is refused."""

import base64
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.core.contract.grid import quantise
from models.core.flow.programs import FlowEncodeParams
from service.schema import responses
from tests.support.models.tiny import events_of, latents_of
from tests.support.service.apps import Client
from tests.support.service.flows import alone, flow
from tests.support.service.models import inputs
from tests.support.service.pictures import file, npy
from tests.support.service.problems import problem_of

X = events_of(flow("pixels"), 5)
Z = latents_of(flow("pixels"), 5)
NPY = {"content-type": "application/x-npy"}


def z_of(response: Any) -> np.ndarray:
    """The latents of an answer."""
    assert response.status_code == 200, response.text
    responses.EncodeAnswer.model_validate(response.json())
    return np.array([result["z"] for result in response.json()["results"]])


def test_encoding_is_what_the_model_does_alone(flows_client: Client) -> None:
    response = flows_client.post("/encode", json={"instances": X.tolist()})
    expected = alone("pixels", "encode", inputs(5, x=X))["z"]
    np.testing.assert_allclose(z_of(response), expected.numpy(), atol=1e-4)
    assert response.json()["params"] == {"dequantise": "centre"}
    assert response.json()["seed"] == 0
    assert response.json()["results"][0]["converted"] == []


def test_every_form_of_an_event_has_the_same_latent(flows_client: Client) -> None:
    files = [file(Image.fromarray(pixels[0])) for pixels in quantise(X).numpy()]
    text = [base64.b64encode(data).decode() for data in files]
    expected = z_of(flows_client.post("/encode", json={"instances": X.tolist()}))
    for response in (
        flows_client.post("/encode", json={"images": text}),
        flows_client.post("/encode", files=[("files", data) for data in files]),
        flows_client.post("/encode", content=npy(X.numpy()), headers=NPY),
        flows_client.post("/encode", content=npy(quantise(X).numpy()), headers=NPY),
    ):
        np.testing.assert_allclose(z_of(response), expected, atol=1e-5)
    one = flows_client.post("/encode", content=files[2], headers={"content-type": "image/png"})
    np.testing.assert_allclose(z_of(one), expected[2:3], atol=1e-4)


def test_noise_is_drawn_by_the_seed(flows_client: Client) -> None:
    body = {"instances": X.tolist(), "params": {"dequantise": "noise"}, "seed": 3}
    response = flows_client.post("/encode", json=body)
    expected = alone("pixels", "encode", inputs(5, seed=3, x=X), FlowEncodeParams("noise"))["z"]
    np.testing.assert_allclose(z_of(response), expected.numpy(), atol=1e-4)
    assert response.json()["seed"] == 3
    other = flows_client.post("/encode", json={**body, "seed": 4})
    assert np.abs(z_of(other) - z_of(response)).max() > 0.01


def test_latents_as_an_npz(flows_client: Client) -> None:
    body = {"instances": X.tolist(), "seed": 2}
    response = flows_client.post("/encode", json=body, headers={"accept": "application/x-npz"})
    assert response.headers["content-type"] == "application/x-npz"
    assert response.headers["x-seed"] == "2"
    arrays = np.load(io.BytesIO(response.content))
    expected = alone("pixels", "encode", inputs(5, x=X))["z"].numpy()
    np.testing.assert_allclose(arrays["z"], expected, atol=1e-4)
    assert int(arrays["seed"]) == 2


@pytest.mark.parametrize("model", ["pixels", "grey", "binary", "table", "counts"])
def test_decoding_gives_back_what_was_encoded(flows_client: Client, model: str) -> None:
    x = events_of(flow(model), 4)
    asked = {"model": model, "instances": x.tolist()}
    z = z_of(flows_client.post("/encode", json=asked)).tolist()
    body = {"model": model, "latents": z, "format": "arrays"}
    response = flows_client.post("/decode", json=body)
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["samples"], x.numpy(), atol=1e-4, rtol=1e-4)


def test_decoding_is_what_the_model_does_alone(flows_client: Client) -> None:
    response = flows_client.post("/decode", json={"latents": Z.tolist(), "format": "arrays"})
    responses.DecodeAnswer.model_validate(response.json())
    expected = alone("pixels", "decode", inputs(5, z=Z))["x"].numpy()
    np.testing.assert_allclose(response.json()["samples"], expected, atol=1e-6)
    assert response.json()["kind"] == "bound"
    assert response.json()["params"] == {}
    assert response.json()["seed"] == 0
    same = flows_client.post("/decode?format=arrays", content=npy(Z.numpy()), headers=NPY)
    np.testing.assert_allclose(same.json()["samples"], expected, atol=1e-6)


def test_decoded_events_in_every_form(flows_client: Client) -> None:
    body = {"latents": Z.tolist()}
    expected = quantise(alone("pixels", "decode", inputs(5, z=Z))["x"]).numpy()
    answer = flows_client.post("/decode", json=body).json()
    assert answer["format"] == "png"
    for text, pixels in zip(answer["samples"], expected, strict=True):
        tile = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
        assert np.array_equal(tile, pixels[0])
    forms = {
        accept: flows_client.post("/decode", json=body, headers={"accept": accept})
        for accept in ("image/png", "application/zip", "application/x-npz")
    }
    for accept, response in forms.items():
        assert response.headers["content-type"] == accept
        assert response.headers["x-seed"] == "0"
    grid = np.asarray(Image.open(io.BytesIO(forms["image/png"].content)))
    assert grid.shape == (10, 16)
    assert np.array_equal(grid[6:10, 6:10], expected[4, 0])
    archive = zipfile.ZipFile(io.BytesIO(forms["application/zip"].content))
    third = np.asarray(Image.open(io.BytesIO(archive.read("sample_0002.png"))))
    assert np.array_equal(third, expected[2, 0])
    arrays = np.load(io.BytesIO(forms["application/x-npz"].content))
    assert np.array_equal(quantise(torch.from_numpy(arrays["x"])).numpy(), expected)
    assert int(arrays["seed"]) == 0


@pytest.mark.parametrize("size", [1e4, 1e20, 3e38])
@pytest.mark.parametrize("model", ["pixels", "binary", "table", "counts"])
def test_latents_beyond_reason_give_numbers_or_nothing(
    flows_client: Client, model: str, size: float
) -> None:
    (num_dims,) = flow(model).latent_shape or ()
    latents = size * np.resize([1.0, -1.0, 0.3], (2, num_dims))
    for form in ("arrays", "png"):
        body = {"model": model, "latents": [*latents.tolist(), [0.0] * num_dims], "format": form}
        response = flows_client.post("/decode", json=body)
        assert response.status_code == 200, response.text
        samples = response.json()["samples"]
        json.dumps(samples, allow_nan=False)
        if form == "arrays" or model in ("table", "counts"):
            grid, x = flow(model).grid, np.array(samples, dtype=float)
            assert np.isfinite(x[2]).all()
            assert grid is None or ((x >= 0) & (x <= grid.top) | np.isnan(x)).all()


def test_what_is_not_finite_has_no_picture(flows_client: Client) -> None:
    body = {"latents": [[0.0] * 16, [3e38, -3e38] * 8]}
    sound, broken = flows_client.post("/decode", json=body).json()["samples"]
    assert sound is not None
    assert broken is None
    for accept in ("image/png", "application/zip"):
        response = flows_client.post("/decode", json=body, headers={"accept": accept})
        says = problem_of(response, 422, "invalid-request")["detail"]
        assert "sample 1 is not finite" in says
    response = flows_client.post("/decode", json=body, headers={"accept": "application/x-npz"})
    x = np.load(io.BytesIO(response.content))["x"]
    assert np.isfinite(x[0]).all()
    assert np.isnan(x[1]).any()


@pytest.mark.parametrize(
    ("url", "body", "slug", "says"),
    [
        ("/decode", {}, "invalid-request", "no latents"),
        ("/decode", {"latents": []}, "invalid-request", "latents"),
        ("/decode", {"latents": "abc"}, "invalid-request", "latents"),
        ("/decode", {"latents": [[0.0] * 15]}, "invalid-array", "(number of latents, 16)"),
        ("/decode", {"latents": [[0.0] * 16, [0.0]]}, "invalid-array", "latents are ragged"),
        ("/decode", {"latents": [["0"] * 16]}, "invalid-array", "other things than numbers"),
        ("/decode", {"latents": [[0.0] * 15 + [1e39]]}, "invalid-array", "latent 0 holds NaN"),
        ("/decode", {"latents": [[0.0] * 16] * 41}, "too-many-rows", "41 latents"),
        ("/decode", {"latents": [[0.0] * 16], "instances": [[0]]}, "invalid-request", "instances"),
        ("/decode", {"latents": [[0.0] * 16], "seed": -1}, "invalid-request", "seed"),
        ("/decode", {"latents": [[0.0] * 16], "params": {"a": 1}}, "invalid-request", "none"),
        (
            "/decode",
            {"latents": [[0.0]], "model": "discrete"}, "unsupported-operation", "discrete",
        ),
        ("/encode", {}, "invalid-request", "instances"),
        ("/encode", {"instances": X.tolist(), "label": 1}, "invalid-request", "label"),
        (
            "/encode",
            {"instances": X.tolist(), "params": {"dequantise": "x"}}, "invalid-request", "centre",
        ),
        ("/encode", {"instances": X.tolist(), "seed": -1}, "invalid-request", "seed"),
        ("/encode", {"instances": [[0.0] * 5]}, "invalid-array", "(number of instances, 1, 4, 4)"),
        ("/encode", {"instances": X[:1].tolist() * 41}, "too-many-rows", "41 instances"),
        (
            "/encode",
            {"instances": np.zeros((1, 1, 3, 3)).tolist(), "model": "discrete"},
            "unsupported-operation", "discrete has no operation encode: it has sample",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(
    flows_client: Client, url: str, body: dict[str, Any], slug: str, says: str
) -> None:
    assert says in problem_of(flows_client.post(url, json=body), 422, slug)["detail"]


def test_arrays_and_forms_that_are_refused(flows_client: Client) -> None:
    bad = npy(np.full((1, 16), np.nan))
    problem_of(flows_client.post("/decode", content=bad, headers=NPY), 422, "invalid-array")
    greys = npy(np.zeros((1, 16), np.uint8))
    problem_of(flows_client.post("/decode", content=greys, headers=NPY), 422, "invalid-array")
    for url, shape in (("/decode", (41, 16)), ("/encode", (41, 1, 4, 4))):
        many = flows_client.post(url, content=npy(np.zeros(shape)), headers=NPY)
        assert "at most 40" in problem_of(many, 422, "too-many-rows")["detail"]
    picture = file(Image.new("L", (4, 4)))
    response = flows_client.post("/decode", content=picture, headers={"content-type": "image/png"})
    problem_of(response, 415, "unsupported-media-type")
    accept = {"accept": "image/png"}
    body = {"model": "table", "latents": [[0.0] * 5]}
    problem_of(flows_client.post("/decode", json=body, headers=accept), 406, "not-acceptable")
    response = flows_client.post("/encode", json={"instances": X.tolist()}, headers=accept)
    problem_of(response, 406, "not-acceptable")


def test_energy_models_have_no_latents(client: Client) -> None:
    latents = {"latents": [[0.0]]}
    says = problem_of(client.post("/decode", json=latents), 422, "unsupported-operation")
    assert "jem has no latents" in says["detail"]
