"""What the query and the body both say: the same, or it is refused."""

import base64
from typing import Any

import pytest

from tests.support.service.apps import Client
from tests.support.service.pictures import png
from tests.support.service.problems import problem_of

IMAGES = {"images": [base64.b64encode(png()).decode()]}


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("alpha=0.2", {"alpha": 0.2}),
        ("alpha=0.20&guarantee=marginal", {"alpha": 0.2, "guarantee": "marginal"}),
        ("model=jem", {"model": "jem"}),
        ("alpha=0.2", {}),
    ],
)
def test_the_same_twice_is_said_once(client: Client, query: str, fields: dict[str, Any]) -> None:
    once = client.post("/ood_score", json={**IMAGES, "alpha": 0.2, **fields}).json()
    if "model" in fields:
        once = client.post("/ood_score", json={**IMAGES, **fields}).json()
    twice = client.post(f"/ood_score?{query}", json={**IMAGES, **fields}).json()
    assert twice["results"] == once["results"]


@pytest.mark.parametrize(
    ("query", "fields"),
    [("num_steps=3", {"params": {"num_steps": 3}}), ("seed=7&num_steps=3", {"seed": 7})],
)
def test_params_and_samples(client: Client, query: str, fields: dict[str, Any]) -> None:
    once = client.post("/sample", json={"seed": 7, "params": {"num_steps": 3}}).json()
    body = {"seed": 7, **fields}
    assert client.post(f"/sample?{query}", json=body).json()["samples"] == once["samples"]


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("alpha=0.1", {"alpha": 0.2}),
        ("model=ebm", {"model": "jem"}),
        ("alpha=0.1&alpha=0.2", {}),
    ],
)
def test_two_things_are_refused(client: Client, query: str, fields: dict[str, Any]) -> None:
    answer = client.post(f"/ood_score?{query}", json={**IMAGES, **fields})
    problem_of(answer, 422, "invalid-request")


def test_params_that_differ_are_refused(client: Client) -> None:
    for query in ("num_steps=4", "num_steps=3&step_size=1"):
        answer = client.post(f"/sample?{query}", json={"params": {"num_steps": 3}})
        assert "not the same" in problem_of(answer, 422, "invalid-request")["detail"]


def test_no_defaults_of_query_parameters_are_published(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    posts = [path["post"] for path in paths.values() if "requestBody" in path.get("post", {})]
    schemas = [parameter["schema"] for post in posts for parameter in post["parameters"]]
    assert schemas
    assert not [schema for schema in schemas if "default" in schema]
