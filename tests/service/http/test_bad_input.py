"""Bad requests: each gets its status, and a problem document that says what is accepted."""

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.errors import PROBLEMS, ServiceError
from tests.support.service.apps import Client
from tests.support.service.pictures import bomb, file, npy, png
from tests.support.service.problems import problem_of

PNG, JSON, NPY = "image/png", "application/json", "application/x-npy"
EVENT = np.zeros((1, 8, 8)).tolist()
GOOD = {"instances": [EVENT]}
TRUNCATED = png()[:60]
UNKNOWN_FIELDS = {
    "/energy": "alpha",
    "/ood_score": "label",
    "/classify": "seed",
    "/sample": "alpha",
    "/log_likelihood": "alpha",
    "/encode": "alpha",
}


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


BODIES: list[tuple[str, bytes, int, str]] = [
    (PNG, b"", 400, "malformed-body"),
    (JSON, b"", 400, "malformed-body"),
    (NPY, b"", 400, "malformed-body"),
    (JSON, b"{", 400, "malformed-body"),
    (JSON, b"[]", 400, "malformed-body"),
    (JSON, b"\xff", 400, "malformed-body"),
    (JSON, b"[" * 5000, 400, "malformed-body"),
    (JSON, b'{"instances": [[[[NaN]]]]}', 400, "malformed-body"),
    (JSON, b'{"instances": [[[[Infinity]]]]}', 400, "malformed-body"),
    (JSON, b'{"instances": [[[[1e999]]]]}', 422, "invalid-array"),
    (JSON, b"{}", 422, "invalid-request"),
    (JSON, b'{"images": []}', 422, "invalid-request"),
    (JSON, b'{"images": "abc"}', 422, "invalid-request"),
    (JSON, b'{"images": [1]}', 422, "invalid-request"),
    (JSON, b'{"images": ["%%%"]}', 422, "invalid-image"),
    (JSON, b'{"images": ["data:image/png,xyz"]}', 422, "invalid-image"),
    (JSON, b'{"images": [""]}', 422, "invalid-image"),
    (JSON, b'{"instances": [[1, 2]]}', 422, "invalid-array"),
    (JSON, b'{"instances": [], "images": []}', 422, "invalid-request"),
    (JSON, b'{"model": 7}', 422, "invalid-request"),
    (JSON, b'{"surprise": 1}', 422, "invalid-request"),
    (PNG, b"a text file named .png", 422, "invalid-image"),
    (PNG, TRUNCATED, 422, "invalid-image"),
    (PNG, bomb(), 413, "payload-too-large"),
    (NPY, b"no array", 422, "invalid-array"),
    (NPY, npy(np.full((1, 1, 8, 8), np.nan)), 422, "invalid-array"),
    (NPY, npy(np.zeros((1, 9, 9))), 422, "invalid-array"),
    (NPY, npy(np.array([{}], dtype=object)), 422, "invalid-array"),
    ("text/plain", b"hello", 415, "unsupported-media-type"),
    ("image/svg+xml", b"<svg/>", 415, "unsupported-media-type"),
    ("application/x-www-form-urlencoded", b"a=1", 415, "unsupported-media-type"),
    ("multipart/form-data", b"no boundary", 400, "malformed-body"),
    ("multipart/form-data; boundary=x", b"rubbish", 400, "malformed-body"),
    (PNG, b"x" * 300_001, 413, "payload-too-large"),
]


@pytest.mark.parametrize(("kind", "body", "status", "slug"), BODIES)
def test_bodies(client: Client, kind: str, body: bytes, status: int, slug: str) -> None:
    for endpoint in ("/log_likelihood", "/energy", "/ood_score", "/classify"):
        response = client.post(endpoint, content=body, headers={"content-type": kind})
        problem_of(response, status, slug)


@pytest.mark.parametrize(
    ("url", "body", "status", "slug", "says"),
    [
        ("/energy", {**GOOD, "model": "nobody"}, 404, "unknown-model", "jem@"),
        ("/energy", {**GOOD, "label": 3}, 422, "invalid-request", "0 to 2"),
        ("/energy", {**GOOD, "label": -1}, 422, "invalid-request", "label"),
        ("/energy", {**GOOD, "label": "dog"}, 422, "invalid-request", "star"),
        ("/energy", {**GOOD, "label": True}, 422, "invalid-request", "label"),
        ("/energy", {**GOOD, "label": 0, "model": "ebm"}, 422, "invalid-request", "no label"),
        ("/energy", {**GOOD, "params": {"a": 1}}, 422, "invalid-request", "none"),
        ("/ood_score", {**GOOD, "alpha": 0}, 422, "invalid-request", "alpha"),
        ("/ood_score", {**GOOD, "alpha": 1}, 422, "invalid-request", "alpha"),
        ("/ood_score", {**GOOD, "alpha": -0.5}, 422, "invalid-request", "alpha"),
        ("/ood_score", {**GOOD, "alpha": "0.1"}, 422, "invalid-request", "alpha"),
        ("/ood_score", {**GOOD, "alpha": 0.009}, 422, "invalid-request", "99 calibration"),
        ("/ood_score", {**GOOD, "score": "dog"}, 422, "invalid-request", "energy_typicality"),
        ("/ood_score", {**GOOD, "model": "jem_raw"}, 422, "not-calibrated", "jem_raw"),
        ("/classify", {**GOOD, "model": "ebm"}, 422, "unsupported-operation", "energy"),
        ("/classify", {**GOOD, "alpha": 0.001}, 422, "invalid-request", "99 calibration"),
        ("/energy", {"instances": [EVENT] * 41}, 422, "too-many-rows", "40"),
        ("/energy", {"images": [text64(png())] * 41}, 422, "too-many-rows", "40"),
        ("/energy", {**GOOD, "images": [text64(png())]}, 422, "invalid-request", "not both"),
        ("/energy", {"images": [text64(png()), text64(b"?")]}, 422, "invalid-image", "image 1"),
        ("/energy?alpha=1", GOOD, 422, "invalid-request", "params"),
        ("/energy?label=1&label=2", GOOD, 422, "invalid-request", "twice"),
        ("/energy?label=1", {**GOOD, "label": 2}, 422, "invalid-request", "query and the body"),
        ("/log_likelihood?estimator=x", GOOD, 422, "invalid-request", "estimator"),
        (
            "/log_likelihood?estimator=ais",
            {**GOOD, "model": "jem_raw"}, 422, "invalid-request", "log Z",
        ),
        ("/log_likelihood", {**GOOD, "seed": -1}, 422, "invalid-request", "seed"),
        ("/sample", {"num_samples": 0}, 422, "invalid-request", "num_samples"),
        ("/sample", {"num_samples": 33}, 422, "too-many-rows", "32"),
        ("/sample", {"num_samples": 10**30}, 422, "too-many-rows", "32"),
        ("/sample", {"num_samples": 1.5}, 422, "invalid-request", "num_samples"),
        ("/sample", {"seed": 2**63}, 422, "invalid-request", "seed"),
        ("/sample", {"seed": "7"}, 422, "invalid-request", "seed"),
        ("/sample", {"label": "dog"}, 422, "invalid-request", "circle"),
        ("/sample", {"label": 10**30}, 422, "invalid-request", "circle"),
        ("/sample", {"format": "gif"}, 422, "invalid-request", "arrays"),
        ("/sample", {"params": {"num_steps": 0}}, 422, "invalid-request", "num_steps"),
        ("/sample", {"params": {"num_steps": 10**9}}, 422, "invalid-request", "num_steps"),
        ("/sample", {"params": {"tempo": 1}}, 422, "invalid-request", "step_size"),
        ("/sample", {"params": {"start": "data"}}, 422, "invalid-request", "images or arrays"),
        ("/sample", GOOD, 422, "invalid-request", 'start "data"'),
        (
            "/sample",
            {"instances": [EVENT] * 2, "num_samples": 3, "params": {"start": "data"}},
            422, "invalid-request", "one each",
        ),
        ("/sample?step_size=nan", {}, 422, "invalid-request", "step_size"),
    ],
)  # fmt: skip
def test_fields(
    client: Client, url: str, body: dict[str, Any], status: int, slug: str, says: str
) -> None:
    document = problem_of(client.post(url, json=body), status, slug)
    assert says in document["detail"]


@pytest.mark.parametrize(("url", "name"), UNKNOWN_FIELDS.items())
def test_unknown_fields_are_refused_with_what_is_accepted(
    client: Client, url: str, name: str
) -> None:
    document = problem_of(client.post(url, json={**GOOD, name: 1}), 422, "invalid-request")
    assert document["errors"] == [{"field": name, "detail": "Extra inputs are not permitted"}]
    assert "accepted are model" in document["detail"]


def test_forms_are_checked_like_json(client: Client) -> None:
    upload = {"files": png()}
    for data, says in (
        ({"alpha": "2"}, "alpha"),
        ({"alpha": "nan"}, "alpha"),
        ({"surprise": "1"}, "surprise"),
        ({"files": "text"}, "files"),
    ):
        response = client.post("/ood_score", files=upload, data=data)
        assert says in problem_of(response, 422, "invalid-request")["detail"]
    named = client.post("/ood_score", files={"picture": png()})
    assert "files" in problem_of(named, 422, "invalid-request")["detail"]
    many = client.post("/ood_score", files=[("files", png())] * 41)
    assert "40" in problem_of(many, 422, "too-many-rows")["detail"]
    more = client.post("/ood_score", files=[("files", png())] * 42)
    assert "41" in problem_of(more, 400, "malformed-body")["detail"]
    second = client.post("/ood_score", files=[("files", png()), ("files", b"no")])
    assert problem_of(second, 422, "invalid-image")["index"] == 1


def test_wrong_accept(client: Client) -> None:
    headers = {"accept": "text/html"}
    assert (
        JSON
        in problem_of(client.post("/energy", json=GOOD, headers=headers), 406, "not-acceptable")[
            "detail"
        ]
    )
    sample = client.post("/sample", json={}, headers=headers)
    assert "image/png" in problem_of(sample, 406, "not-acceptable")["detail"]
    for evil in ("application/json;q=x", ";;;,,,", "*/*;q=0"):
        response = client.post("/energy", json=GOOD, headers={"accept": evil})
        problem_of(response, 406, "not-acceptable")


def test_wrong_path_and_method(client: Client) -> None:
    problem_of(client.get("/nowhere"), 404, "not-found")
    problem_of(client.get("/models/nobody"), 404, "unknown-model")
    problem_of(client.get("/problems/nothing"), 404, "not-found")
    response = client.get("/sample")
    problem_of(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"
    problem_of(client.request("DELETE", "/models"), 405, "method-not-allowed")


def test_a_chunked_body_over_the_limit(client: Client) -> None:
    async def chunks() -> Any:
        for _ in range(40):
            yield b"x" * 10_000

    response = client.post("/energy", content=chunks(), headers={"content-type": PNG})
    problem_of(response, 413, "payload-too-large")


def test_sample_takes_json_only(client: Client) -> None:
    response = client.post("/sample", content=png(), headers={"content-type": PNG})
    problem_of(response, 415, "unsupported-media-type")


def test_floating_point_pictures_are_refused(client: Client) -> None:
    data = file(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF")
    response = client.post("/energy", content=data, headers={"content-type": "image/tiff"})
    assert "array" in problem_of(response, 422, "invalid-image")["detail"]


def test_every_problem_has_its_own_type_and_a_meaning(client: Client) -> None:
    kinds: list[type[ServiceError]] = [ServiceError, *ServiceError.__subclasses__()]
    assert {kind.slug for kind in kinds} == set(PROBLEMS)
    assert len(PROBLEMS) == len(kinds)
    for slug in PROBLEMS:
        assert client.get(f"/problems/{slug}").json()["meaning"]
