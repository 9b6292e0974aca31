"""Refusals are short and cheap, however much was wrong with a request."""

import pytest

from tests.support.service.apps import Client
from tests.support.service.pictures import png
from tests.support.service.problems import problem_of

PNG, JSON = "image/png", "application/json"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/energy", b'{"images": [' + b"0, " * 90_000 + b"0]}"),
        ("/energy", b'{"instances": [' + b"0, " * 90_000 + b"0]}"),
        ("/energy", b"{" + b", ".join(b'"f%d": 0' % i for i in range(20_000)) + b"}"),
        ("/energy", b'{"params": {' + b", ".join(b'"f%d": 0' % i for i in range(9_000)) + b"}}"),
        ("/energy", b'{"' + b"f" * 200_000 + b'": 0}'),
        ("/sample", b'{"label": "' + b"f" * 200_000 + b'"}'),
        ("/decode", b'{"' + b"f" * 200_000 + b'": 0}'),
    ],
)
def test_refusals_are_short_whatever_was_sent(client: Client, path: str, content: bytes) -> None:
    answer = client.post(path, content=content, headers={"content-type": JSON})
    assert answer.status_code == 422
    assert len(answer.content) < 6_000
    assert len(answer.json().get("errors", [])) <= 20


def test_all_that_is_wrong_is_counted(client: Client) -> None:
    unknown = {f"f{i}": 0 for i in range(50)}
    document = problem_of(client.post("/energy", json=unknown), 422, "invalid-request")
    assert len(document["errors"]) == 20
    assert document["num_errors"] == 50
    assert document["errors"][19]["field"] == "f19"


@pytest.mark.parametrize("header", ["accept", "content-type"])
def test_headers_are_not_sent_back_at_length(client: Client, header: str) -> None:
    headers = {"content-type": PNG, header: "x/" + "y" * 50_000}
    assert len(client.post("/energy", content=png(), headers=headers).content) < 1_000


def test_more_images_than_accepted_are_refused_before_they_are_read(client: Client) -> None:
    refused = client.post("/energy", json={"images": ["%"] * 41})
    problem_of(refused, 422, "too-many-rows")
