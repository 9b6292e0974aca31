"""The documentation is true: requests made from the schema break neither service nor schema."""

from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from service.app import create_app
from service.settings import Settings
from tests.support.service.apps import Client

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


SCORES_AND_SAMPLES = ("/sample", "/log_likelihood", "/energy", "/ood_score", "/classify")


@schemathesis.serializer("application/x-npy", "application/x-likely", "image/bmp", "image/tiff")
def _as_it_is(_: Any, value: Any) -> bytes:
    """Binary bodies that schemathesis does not know by itself."""
    return value if isinstance(value, bytes) else str(value).encode()


schema = schemathesis.openapi.from_dict(create_app(Settings(max_num_samples=32)).openapi())
schema.config.update(base_url="http://test")


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_requests_from_the_schema(case: Any, client: Client, flows_client: Client) -> None:
    kwargs = case.as_transport_kwargs()
    if case.operation.path == "/sample" and isinstance(kwargs.get("json"), dict):
        _make_short(kwargs["json"])
    names = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
    request = requests.Request(**{n: kwargs[n] for n in names if n in kwargs}).prepare()
    able = client if case.operation.path in SCORES_AND_SAMPLES else flows_client
    response = able.request(
        str(request.method),
        str(request.url),
        content=request.body,
        headers=dict(request.headers),
    )
    case.validate_response(response, checks=CHECKS)


def _make_short(body: dict[str, Any]) -> None:
    """Ten thousand steps would be answered too, but later."""
    params = body.get("params")
    if isinstance(params, dict) and isinstance(params.get("num_steps"), int):
        params["num_steps"] = min(params["num_steps"], 20)


def test_every_endpoint_documents_its_forms(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    body = paths["/energy"]["post"]["requestBody"]["content"]
    assert {"application/json", "multipart/form-data", "application/x-npy", "image/png"} <= set(
        body
    )
    answers = paths["/sample"]["post"]["responses"]
    forms = {"application/json", "image/png", "application/zip", "application/x-npz"}
    forms |= {"text/event-stream", "image/gif", "image/webp", "image/apng"}
    assert set(answers["200"]["content"]) == forms
    assert "application/problem+json" in answers["429"]["content"]
    latents = paths["/decode"]["post"]
    assert set(latents["requestBody"]["content"]) == {"application/json", "application/x-npy"}
    assert set(latents["responses"]["200"]["content"]) == forms
    shown = {"format", "progress_every", "frame_ms"}
    assert {p["name"] for p in latents["parameters"]} == {"model", "seed", *shown}
    there = paths["/reconstruct"]["post"]
    assert set(there["responses"]["200"]["content"]) == forms
    assert {"application/x-npy", "image/png"} < set(there["requestBody"]["content"])
    assert {p["name"] for p in there["parameters"]} == {"model", "seed", *shown}
    encoded = paths["/encode"]["post"]["responses"]["200"]["content"]
    assert set(encoded) == {"application/json", "application/x-npz"}
    stream = "application/x-likely"
    small = paths["/compress"]["post"]["responses"]["200"]["content"]
    assert set(small) == {"application/json", stream}
    back = paths["/decompress"]["post"]
    assert set(back["requestBody"]["content"]) == {"application/json", stream}
    assert set(back["responses"]["200"]["content"]) == {
        "application/json", "application/x-npy", "application/zip", "image/png", "text/event-stream"
    }  # fmt: skip
    assert {p["name"] for p in back["parameters"]} == {"model", "progress_every"}
    names = {p["name"] for p in paths["/ood_score"]["post"]["parameters"]}
    assert names == {"model", "alpha", "score", "guarantee", "delta"}
