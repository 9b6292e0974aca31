"""What the service says about itself: headers, models, probes, metrics."""

import json

from tests.support.service.apps import Client
from tests.support.service.bundles import CLASS_NAMES
from tests.support.service.pictures import png

PNG_HEADERS = {"content-type": "image/png"}


def test_every_answer_says_who_and_how_long(client: Client) -> None:
    headers = {**PNG_HEADERS, "x-request-id": "my-id.1"}
    response = client.post("/energy", content=png(), headers=headers)
    assert response.headers["x-request-id"] == "my-id.1"
    assert response.headers["x-model"] == response.json()["model"]
    assert float(response.headers["x-compute-ms"]) > 0
    assert float(response.headers["x-queue-ms"]) >= 0
    assert response.json()["timing_ms"]["compute"] > 0
    evil = client.get("/models", headers={"x-request-id": "a b;" * 99})
    assert len(evil.headers["x-request-id"]) == 16


def test_a_model_is_found_by_name_and_version(client: Client) -> None:
    label = client.post("/energy?model=ebm", content=png(), headers=PNG_HEADERS).json()["model"]
    again = client.post(f"/energy?model={label}", content=png(), headers=PNG_HEADERS)
    assert again.json()["model"] == label
    other = client.post("/energy?model=ebm@other", content=png(), headers=PNG_HEADERS)
    assert other.status_code == 404


def test_models(client: Client) -> None:
    models = client.get("/models").json()["models"]
    assert [model["name"] for model in models] == ["ebm", "jem", "jem_raw"]
    assert [model["default"] for model in models] == [False, True, False]


def test_model_details(client: Client) -> None:
    model = client.get("/models/jem").json()
    assert model["event_shape"] == [1, 8, 8]
    assert model["class_names"] == list(CLASS_NAMES)
    assert model["metrics"] == {"accuracy": 0.25}
    sample = model["operations"]["sample"]
    assert sample["params"]["properties"]["num_steps"]["maximum"] == 10_000
    assert sample["defaults"]["num_steps"] == 8
    assert sample["backends"] == {"energy_grad": "torch"}
    assert model["backends"]["logits"]["milliseconds_by_rows"]["torch"]["1"] > 0
    assert model["calibration"]["scores"]["energy"]["num_images"] == 99
    assert list(model["calibration"]["scores"]) == ["energy", "energy_typicality"]
    json.dumps(model, allow_nan=False)


def test_probes_and_the_way_to_the_documentation(client: Client) -> None:
    assert client.get("/health/live").json() == {"status": "live"}
    assert client.get("/health/ready").json()["failed"] == []
    assert client.get("/").headers["location"] == "/docs"
    assert client.get("/docs").status_code == 200
    assert client.get("/problems/overloaded").json()["status"] == 429


def test_metrics(client: Client) -> None:
    client.post("/energy", content=png(), headers=PNG_HEADERS)
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'likely_requests_total{code="200",endpoint="/energy",model="jem"}' in text
    assert 'likely_requests_total{code="404",endpoint="other",model=""}' in text
    assert 'likely_step_rows_bucket{le="16.0",model="jem",operation="energy"}' in text
    assert "likely_step_seconds_sum" in text
    assert 'likely_queue_seconds_count{endpoint="/energy"}' in text
    assert 'likely_request_duration_seconds_count{endpoint="/energy"}' in text
    assert "likely_rows_inside 0.0" in text
    assert 'likely_model_info{family="jem",model="jem",version=' in text
