"""Forms of good requests that clients send: HEAD, gzip, a byte order mark, old content types."""

import base64
import gzip
import json

import pytest

from tests.support.service.apps import Client
from tests.support.service.pictures import png
from tests.support.service.problems import problem_of

JSON = json.dumps({"images": [base64.b64encode(png()).decode()]}).encode()


def energy_of(client: Client, content: bytes, kind: str, coding: str = "") -> object:
    """The results of a body."""
    headers = {"content-type": kind, **({"content-encoding": coding} if coding else {})}
    answer = client.post("/energy", content=content, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/models", "/models/jem", "/health/live", "/health/ready", "/metrics"]
)
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    head, got = client.request("HEAD", path), client.get(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type" if got.content else "location"]


def test_head_of_what_is_posted_is_refused(client: Client) -> None:
    assert client.request("HEAD", "/energy").status_code == 405
    assert client.request("HEAD", "/nowhere").status_code == 404


def test_a_byte_order_mark_is_not_in_the_way(client: Client) -> None:
    plain = energy_of(client, JSON, "application/json")
    assert energy_of(client, b"\xef\xbb\xbf" + JSON, "application/json") == plain


@pytest.mark.parametrize(("content", "kind"), [(JSON, "application/json"), (png(), "image/png")])
def test_gzip_is_inflated(client: Client, content: bytes, kind: str) -> None:
    plain = energy_of(client, content, kind)
    assert energy_of(client, gzip.compress(content), kind, "gzip") == plain
    assert energy_of(client, content, kind, "identity") == plain


def test_a_form_in_gzip(client: Client) -> None:
    head = b'--XX\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    form = gzip.compress(head + png() + b"\r\n--XX--\r\n")
    got = energy_of(client, form, "multipart/form-data; boundary=XX", "x-gzip")
    assert got == energy_of(client, png(), "image/png")


@pytest.mark.parametrize(
    ("content", "coding", "status", "slug"),
    [
        (JSON, "br", 415, "unsupported-media-type"),
        (JSON, "gzip, gzip", 415, "unsupported-media-type"),
        (JSON, "gzip", 400, "malformed-body"),
        (gzip.compress(JSON)[:-9], "gzip", 400, "malformed-body"),
        (gzip.compress(JSON) + b"more", "gzip", 400, "malformed-body"),
        (gzip.compress(bytes(10**8)), "gzip", 413, "payload-too-large"),
    ],
)
def test_what_is_no_gzip_is_told_apart(
    client: Client, content: bytes, coding: str, status: int, slug: str
) -> None:
    headers = {"content-type": "application/json", "content-encoding": coding}
    problem_of(client.post("/energy", content=content, headers=headers), status, slug)


@pytest.mark.parametrize(
    "kind", ["image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "IMAGE/X-PNG; q=1"]
)
def test_old_names_of_content_types(client: Client, kind: str) -> None:
    assert energy_of(client, png(), kind) == energy_of(client, png(), "image/png")
