"""Multipart forms: whole or refused, in memory, and in UTF-8."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator

import pytest
from starlette.datastructures import Headers

from service.errors import MalformedBody, UnsupportedMediaType
from service.http.multipart import read_form
from tests.support.service.apps import Client
from tests.support.service.pictures import png
from tests.support.service.problems import problem_of

KIND = "multipart/form-data; boundary=XX"
END = b"--XX--\r\n"
CHARSETS = ["punycode", "undefined", "idna", "latin-1", "utf-16", "nonsense"]


def part(data: bytes, name: str = 'files"; filename="a.png') -> bytes:
    """One part of a form."""
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n"


def form_of(*chunks: bytes, kind: str = KIND) -> tuple[list[bytes], dict[str, str]]:
    """What is in a form that comes in these pieces."""

    async def arriving() -> AsyncGenerator[bytes, None]:
        for chunk in chunks:
            yield chunk

    return asyncio.run(read_form(Headers({"content-type": kind}), arriving(), max_files=3))


TWO = part(b"one") + part(b"two")


@pytest.mark.parametrize(
    "body",
    [TWO, TWO[:-10], TWO + b"--XX", TWO + b"--XX-", part(b"one")[:-3], b"--XX\r\nContent-Dis"],
)
def test_a_form_without_its_end_is_refused(body: bytes) -> None:
    assert form_of(TWO + END) == ([b"one", b"two"], {})
    with pytest.raises(MalformedBody):
        form_of(body)
    with pytest.raises(MalformedBody):
        form_of(*(bytes([byte]) for byte in body))


def test_the_service_judges_no_part_of_a_group(client: Client) -> None:
    headers = {"content-type": KIND}
    two = part(png()) + part(png(1))
    assert len(client.post("/energy", content=two + END, headers=headers).json()["results"]) == 2
    problem = problem_of(
        client.post("/energy", content=two, headers=headers), 400, "malformed-body"
    )
    assert "closing boundary" in problem["detail"]


def test_large_files_need_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    large = bytes(3 * 2**20)
    assert form_of(part(large), END) == ([large], {})


@pytest.mark.parametrize("charset", CHARSETS)
def test_text_in_other_charsets_is_refused(charset: str) -> None:
    body = part(b"b" * 10_000, name="label") + END
    with pytest.raises(UnsupportedMediaType):
        form_of(body, kind=f"{KIND}; charset={charset}")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"'])
def test_utf_8_may_be_named(charset: str) -> None:
    body = part("\u00e9".encode(), name="label") + END
    assert form_of(body, kind=f"{KIND}; charset={charset}") == ([], {"label": "\u00e9"})
