"""Exact numbers and bounds over HTTP: images of a few levels, counts and real vectors."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from models.core.flow.programs import FlowLogLikelihoodParams
from service.results.results import nested
from service.schema import responses
from tests.support.models.tiny import events_of
from tests.support.service.apps import Client
from tests.support.service.flows import CONFIGS, FEATURES, alone, flow, shared
from tests.support.service.models import inputs
from tests.support.service.pictures import file, npy
from tests.support.service.problems import problem_of

NPY = {"content-type": "application/x-npy"}
BOUNDS = ("pixels", "grey", "binary", "counts")


def rated(response: Any) -> list[dict[str, Any]]:
    """The results of a likelihood."""
    assert response.status_code == 200, response.text
    responses.LogLikelihoodAnswer.model_validate(response.json(), strict=False)
    found: list[dict[str, Any]] = response.json()["results"]
    return found


@pytest.mark.parametrize("model", BOUNDS)
def test_a_bound_of_discrete_events(flows_client: Client, model: str) -> None:
    x = events_of(flow(model), 3)
    body = {"model": model, "instances": x.tolist(), "seed": 7}
    once = rated(flows_client.post("/log_likelihood", json=body))
    often = rated(flows_client.post("/log_likelihood", json={**body, "params": {"num_samples": 5}}))
    for num_samples, results in ((1, once), (5, often)):
        params = FlowLogLikelihoodParams(num_samples)
        expected = alone(model, "log_likelihood", shared(3, seed=7, x=x), params)
        for i, result in enumerate(results):
            log_prob = float(expected["log_prob"][i])
            assert result["log_likelihood"] == pytest.approx(log_prob, rel=1e-4, abs=1e-3)
            num_dims = flow(model).num_dims
            bits = -result["log_likelihood"] / (num_dims * math.log(2))
            assert result["bits_per_dim"] == pytest.approx(bits, rel=1e-5)
            assert result["kind"] == "bound"
            assert result["num_samples"] == num_samples
    assert all(result["standard_error"] is None for result in once)
    assert all(result["standard_error"] >= 0 for result in often)


def test_real_vectors_have_an_exact_density_and_no_bits(flows_client: Client) -> None:
    x = events_of(flow("table"), 4)
    expected = alone("table", "log_likelihood", shared(4, x=x))["log_prob"]
    results = rated(
        flows_client.post("/log_likelihood?model=table", json={"instances": x.tolist()})
    )
    for result, log_prob in zip(results, expected, strict=True):
        assert result["log_likelihood"] == pytest.approx(float(log_prob), rel=1e-4, abs=1e-4)
        assert result["bits_per_dim"] is None
        assert result["kind"] == "exact"
        assert result["standard_error"] == 0
    body = {"instances": x.tolist(), "params": {"num_samples": 2}}
    refused = flows_client.post("/log_likelihood?model=table", json=body)
    assert "exact" in problem_of(refused, 422, "invalid-request")["detail"]


def test_an_autoregressive_model_is_exact_and_has_bits(flows_client: Client) -> None:
    x = events_of(flow("discrete"), 3)
    expected = alone("discrete", "log_likelihood", shared(3, x=x))["log_prob"]
    results = rated(
        flows_client.post("/log_likelihood?model=discrete", json={"instances": x.tolist()})
    )
    for result, log_prob in zip(results, expected, strict=True):
        assert result["kind"] == "exact"
        assert result["log_likelihood"] == pytest.approx(float(log_prob), abs=1e-3)
        assert result["bits_per_dim"] == pytest.approx(-float(log_prob) / (9 * math.log(2)))
        assert result["num_samples"] is None


@pytest.mark.parametrize("model", CONFIGS)
def test_an_energy_is_of_its_likelihoods_kind(flows_client: Client, model: str) -> None:
    x = events_of(flow(model), 2)
    body = {"model": model, "instances": x.tolist(), "seed": 5}
    likelihoods = rated(flows_client.post("/log_likelihood", json=body))
    response = flows_client.post("/energy", json=body)
    responses.EnergyAnswer.model_validate(response.json(), strict=False)
    for energy, likelihood in zip(response.json()["results"], likelihoods, strict=True):
        assert energy["energy"] == -likelihood["log_likelihood"]
        assert energy["energies"] is None
        for name in ("kind", "standard_error", "num_samples", "converted"):
            assert energy[name] == likelihood[name]


def test_an_event_has_its_number_wherever_it_stands(flows_client: Client) -> None:
    x = events_of(flow("pixels"), 20).tolist()
    body = {"instances": [x[0], *x, x[0]], "seed": 3}
    values = [r["log_likelihood"] for r in rated(flows_client.post("/log_likelihood", json=body))]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    assert values[0] == pytest.approx(values[21], abs=1e-3)
    other = rated(flows_client.post("/log_likelihood", json={**body, "seed": 4}))
    assert abs(other[0]["log_likelihood"] - values[0]) > 1e-3


def test_strangers_and_the_likelihood_of_each_score(flows_client: Client) -> None:
    x = events_of(flow("table"), 6, seed=9)
    log_prob = alone("table", "log_likelihood", shared(6, x=x))["log_prob"]
    known = alone("table", "log_likelihood", shared(99, x=events_of(flow("table"), 99, seed=5)))
    median = known["log_prob"].median()
    for name, scores in (("nll", -log_prob), ("typicality", (log_prob - median).abs())):
        body = {"model": "table", "instances": x.tolist(), "score": name}
        answer = flows_client.post("/ood_score", json=body).json()
        for result, score in zip(answer["results"], scores, strict=True):
            assert result["score"] == pytest.approx(float(score), rel=1e-4, abs=1e-4)
            assert result["score_name"] == name
        assert "of rows like the 99 " in answer["calibration"]["guarantee"]
        assert "rejected rows" in answer["batch"]["guarantee"]
    first = flows_client.post("/ood_score", json={"model": "table", "instances": x.tolist()}).json()
    assert first["results"][0]["score_name"] == "nll"
    strange = flows_client.post("/ood_score?model=table", json={"instances": [[1e4] * 5]}).json()
    assert strange["results"][0]["is_ood"]
    refused = flows_client.post("/classify", json={"model": "table", "instances": x.tolist()})
    problem_of(refused, 422, "unsupported-operation")


@pytest.mark.parametrize("bad", [1e30, 3e38])
def test_no_number_is_null_and_as_strange_as_can_be(flows_client: Client, bad: float) -> None:
    body = {"model": "table", "instances": [[bad] * 5]}
    (result,) = rated(flows_client.post("/log_likelihood", json=body))
    assert result["log_likelihood"] is None
    assert flows_client.post("/ood_score", json=body).json()["results"][0]["p_value"] == 0.01


def test_a_picture_of_greys_is_drawn_and_said_to_be(flows_client: Client) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (1, 1, 4, 4), dtype=np.uint8)
    form = Preprocessing(4, 4, levels=2)
    bits = torch.from_numpy(form.to_levels(pixels) / 255).float()
    expected = float(alone("binary", "log_likelihood", shared(1, x=bits))["log_prob"])
    url = "/log_likelihood?model=binary"
    picture = file(Image.fromarray(pixels[0, 0]))
    for response in (
        flows_client.post(url, content=picture, headers={"content-type": "image/png"}),
        flows_client.post(url, json={"instances": (pixels / 255).tolist()}),
        flows_client.post(url, content=npy(pixels), headers=NPY),
    ):
        (result,) = rated(response)
        assert result["log_likelihood"] == pytest.approx(expected, abs=1e-3)
        assert result["converted"] == [form.levels_note]


def test_arrays_are_put_on_the_grid_and_that_is_told(flows_client: Client) -> None:
    x = np.full((2, 1, 4, 4), 1 / 3)
    x[1, 0, 0, 0] = 0.4
    first, second = rated(flows_client.post("/log_likelihood", json={"instances": x.tolist()}))
    assert first["converted"] == []
    assert second["converted"] == ["rounded to 4 grey levels"]
    assert second["log_likelihood"] == pytest.approx(first["log_likelihood"], abs=1e-3)
    body = {"model": "counts", "instances": [[0, 8, 3, 3, 1], [0, 8, 3.2, 3, 1]]}
    first, second = rated(flows_client.post("/log_likelihood", json=body))
    assert second["converted"] == ["rounded to whole numbers"]
    assert second["log_likelihood"] == pytest.approx(first["log_likelihood"], abs=1e-3)
    for bad in (-1, 9):
        body["instances"] = [[0, 0, 0, 0, bad]]
        refused = problem_of(flows_client.post("/energy", json=body), 422, "invalid-array")
        assert "whole numbers from 0 to 8" in refused["detail"]


def test_pictures_are_nothing_to_a_model_of_vectors(flows_client: Client) -> None:
    picture = file(Image.new("L", (4, 4)))
    response = flows_client.post(
        "/energy?model=table", content=picture, headers={"content-type": "image/png"}
    )
    problem_of(response, 422, "unsupported-operation")


def test_vectors_are_sampled_as_numbers(flows_client: Client) -> None:
    body = {"model": "table", "num_samples": 3, "seed": 1}
    answer = flows_client.post("/sample", json=body).json()
    assert answer["format"] == "arrays"
    expected = alone("table", "sample", inputs(3, seed=1))["x"].numpy()
    np.testing.assert_allclose(answer["samples"], expected, rtol=1e-4, atol=1e-4)


def test_small_units_keep_their_digits() -> None:
    column = torch.tensor([[1.2345678e-5, -1e7], [torch.inf, torch.nan]])
    assert nested(column) == [[1.234568e-05, -1e7], [None, None]]
    assert nested(torch.zeros(2, 1, 3)) == [[[0.0] * 3]] * 2


def test_what_a_model_is_about(flows_client: Client) -> None:
    table = flows_client.get("/models/table").json()
    assert table["preprocessing"] is None
    assert table["feature_names"] == list(FEATURES)
    assert table["latent_shape"] == [5]
    assert table["num_levels"] is None
    assert table["likelihood"] == "exact"
    pixels = flows_client.get("/models/binary").json()
    assert pixels["preprocessing"]["levels"] == 2
    assert pixels["num_levels"] == 2
    assert pixels["likelihood"] == "bound"
    assert pixels["operations"]["decode"]["needs_latents"]
    assert not pixels["operations"]["encode"]["needs_latents"]
    assert flows_client.get("/models/discrete").json()["latent_shape"] is None
    assert flows_client.get("/models/counts").json()["num_levels"] == 9
