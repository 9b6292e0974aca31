"""Events to latents and back in one request: every form, how much was lost, and what is refused."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from models.core.contract.grid import quantise
from models.core.contract.rows import Rows
from service.media.grid import discretised
from service.schema import responses
from tests.support.models.tiny import events_of
from tests.support.service.apps import Client
from tests.support.service.flows import alone, flow
from tests.support.service.models import inputs
from tests.support.service.pictures import file, npy
from tests.support.service.problems import problem_of
from tests.support.service.streaming import ACCEPT_EVENTS, events_in

MODELS = ("vae", "pixelvae")


def events(model: str, num: int = 4) -> torch.Tensor:
    """Black and white pictures."""
    return events_of(flow(model), num)


def expected(model: str, x: torch.Tensor, seed: int = 0, **params: Any) -> torch.Tensor:
    """What the model does alone."""
    operation = flow(model).operations()["reconstruct"]
    columns: Rows = inputs(len(x), seed, x=x)
    return alone(model, "reconstruct", columns, operation.Params(**params))["x"]


@pytest.mark.parametrize("model", MODELS)
def test_what_comes_back_is_what_the_model_does_alone(
    autoencoders_client: Client, model: str
) -> None:
    x = events(model)
    body = {"model": model, "instances": x.tolist(), "format": "arrays", "seed": 3}
    response = autoencoders_client.post("/reconstruct", json=body)
    assert response.status_code == 200, response.text
    responses.ReconstructAnswer.model_validate(response.json())
    found = expected(model, x, seed=3)
    np.testing.assert_allclose(response.json()["samples"], found.numpy(), atol=1e-4)
    lost = (found - x).square().flatten(1).sum(1)
    told = [result["squared_error"] for result in response.json()["results"]]
    np.testing.assert_allclose(told, lost.numpy(), rtol=1e-4)
    assert len(set(told)) > 1
    assert response.json()["results"][0]["converted"] == []
    assert response.json()["kind"] == "bound"
    assert response.json()["seed"] == 3
    assert set(response.json()["params"]) >= {"latent"}


def test_what_is_drawn_is_drawn_by_the_seed(autoencoders_client: Client) -> None:
    x, params = events("vae"), {"latent": "noise", "values": "noise"}
    body = {"instances": x.tolist(), "format": "arrays", "params": params}
    first, other = (
        autoencoders_client.post("/reconstruct", json={**body, "seed": seed}).json()["samples"]
        for seed in (5, 6)
    )
    assert np.array_equal(first, expected("vae", x, 5, **params).numpy())
    assert first != other


def test_latents_are_decoded_with_a_seed_of_their_own(autoencoders_client: Client) -> None:
    z = torch.randn(6, *(flow("vae").latent_shape or ()))
    body = {"latents": z.tolist(), "format": "arrays", "params": {"values": "noise"}}
    first, other = (
        autoencoders_client.post("/decode", json={**body, "seed": seed}).json() for seed in (5, 6)
    )
    operation = flow("vae").operations()["decode"]
    found = alone("vae", "decode", inputs(6, 5, z=z), operation.Params("noise"))["x"]
    assert np.array_equal(first["samples"], found.numpy())
    assert first["samples"] != other["samples"]
    assert (first["seed"], other["seed"]) == (5, 6)


def test_reconstructions_in_every_form(autoencoders_client: Client) -> None:
    x = events("vae")
    pixels = quantise(expected("vae", x)).numpy()
    files = [("files", file(Image.fromarray(one[0]))) for one in quantise(x).numpy()]
    forms = {
        accept: autoencoders_client.post("/reconstruct", files=files, headers={"accept": accept})
        for accept in ("image/png", "application/zip", "application/x-npz", "image/gif")
    }
    for accept, response in forms.items():
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == accept
        assert response.headers["x-seed"] == "0"
    height, width = x.shape[2:]
    for accept in ("image/png", "image/gif"):
        shown = np.asarray(Image.open(io.BytesIO(forms[accept].content)).convert("L"))
        assert shown.shape == (2 * height + 2, 2 * width + 2)
        assert np.array_equal(shown[height + 2 :, width + 2 :], pixels[3, 0])
    found = np.load(io.BytesIO(forms["application/x-npz"].content))["x"]
    assert np.array_equal(quantise(torch.from_numpy(found)).numpy(), pixels)


def test_the_error_is_of_the_event_as_the_model_takes_it(autoencoders_client: Client) -> None:
    grid = flow("vae").grid
    assert grid is not None
    grey = np.full((2, *flow("vae").event_shape), 0.4, np.float32)
    body = {"instances": grey.tolist(), "format": "arrays"}
    answer = autoencoders_client.post("/reconstruct", json=body).json()
    _, height, width = flow("vae").event_shape
    form = Preprocessing(height, width, levels=grid.num_levels)
    taken, _ = discretised(grey, grid, form)
    lost = np.square(np.array(answer["samples"]) - taken).sum((1, 2, 3))
    told = [result["squared_error"] for result in answer["results"]]
    np.testing.assert_allclose(told, lost, rtol=1e-4)
    assert all(result["converted"] for result in answer["results"])


def test_a_pixel_at_a_time_can_be_watched(autoencoders_client: Client) -> None:
    x = events("pixelvae", 2)
    body = {"model": "pixelvae", "instances": x.tolist(), "progress_every": 1}
    response = autoencoders_client.post("/reconstruct", json=body, headers=ACCEPT_EVENTS)
    *progress, (name, result) = events_in(response)
    assert name == "result"
    assert len(progress) > 1
    assert len(result["results"]) == len(result["samples"]) == 2


def test_what_is_refused(autoencoders_client: Client, flows_client: Client) -> None:
    x = events("vae", 1).tolist()
    for body, says in (
        ({}, "instances"),
        ({"instances": x, "label": 1}, "label"),
        ({"instances": x, "num_samples": 2}, "num_samples"),
        ({"instances": x, "params": {"latent": "median"}}, "latent"),
        ({"instances": x, "seed": -1}, "seed"),
    ):
        problem = problem_of(
            autoencoders_client.post("/reconstruct", json=body), 422, "invalid-request"
        )
        assert says in problem["detail"]
    many = autoencoders_client.post("/reconstruct", json={"instances": x * 41})
    problem_of(many, 422, "too-many-rows")
    wrong = {"headers": {"content-type": "application/x-npy"}, "content": npy(np.zeros((1, 5)))}
    problem_of(autoencoders_client.post("/reconstruct", **wrong), 422, "invalid-array")
    image = events_of(flow("pixels"), 1).tolist()
    answer = flows_client.post("/reconstruct", json={"instances": image})
    says = problem_of(answer, 422, "unsupported-operation")["detail"]
    assert "pixels has no operation reconstruct" in says
