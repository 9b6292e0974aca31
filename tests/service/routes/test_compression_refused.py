"""What compression refuses: images that would be changed, and streams that are not sound."""

import base64
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.core.coding.codec import backend_id
from service.media.stream import unpack
from tests.support.service.apps import Client
from tests.support.service.coders import (
    CODERS,
    PICTURES,
    STREAM_HEADERS,
    compressed,
    events,
    pixels,
)
from tests.support.service.pictures import NPY_HEADERS, file, npy, png_of
from tests.support.service.problems import problem_of
from tests.support.service.streaming import ACCEPT_EVENTS

BITS = Image.fromarray(pixels("bits", 1)[0, 0])
GREY = Image.fromarray(pixels("grey", 1)[0, 0])
EXIF = Image.Exif()
EXIF[0x0112] = 6


def animated() -> bytes:
    """Two frames of the right size."""
    data = io.BytesIO()
    BITS.save(data, "GIF", save_all=True, append_images=[BITS.rotate(90)])
    return data.getvalue()


def off_grid(name: str) -> bytes:
    """Pixels of a model, one of them changed to a level between its own."""
    image = pixels(name, 1)[0]
    image[0, 1, 1] = 100
    return png_of(image)


@pytest.mark.parametrize(
    ("model", "data", "says"),
    [
        ("bits", file(BITS.resize((5, 4))), "4x4 pixels of mode L (grey), pixels 0 and 255 only"),
        ("bits", file(BITS.convert("RGB")), "converted from mode RGB to L"),
        ("bits", file(BITS.convert("LA")), "converted from mode LA to L"),
        ("bits", file(BITS.convert("P")), "converted from mode P to L"),
        ("bits", file(BITS, exif=EXIF), "EXIF"),
        ("bits", animated(), "first frame"),
        ("bits", off_grid("bits"), "binarised"),
        ("grey", off_grid("grey"), "rounded to 17 grey levels"),
        ("grey", off_grid("grey"), "the 17 grey levels next to multiples of 255/16"),
        ("colour", file(Image.new("L", (2, 3))), "2x3 pixels of mode RGB"),
        ("deep", file(Image.new("RGB", (4, 3))), "4x3 pixels of mode L (grey), 8 bits"),
    ],
)
def test_an_image_that_would_be_changed_is_refused(
    coders_client: Client, model: str, data: bytes, says: str
) -> None:
    headers = {"content-type": "application/octet-stream"}
    response = coders_client.post(f"/compress?model={model}", content=data, headers=headers)
    document = problem_of(response, 422, "not-lossless")
    assert says in document["detail"]
    assert document["index"] == 0


def test_the_refusal_names_the_image(coders_client: Client) -> None:
    good, bad = png_of(pixels("grey", 1)[0]), off_grid("grey")
    parts = [("files", data) for data in (good, good, bad, good)]
    response = coders_client.post("/compress", files=parts, data={"model": "grey"})
    assert problem_of(response, 422, "not-lossless")["index"] == 2


def test_arrays_off_the_grid_are_refused(coders_client: Client) -> None:
    grey, counts, bits = (events(name, 1).double() for name in ("grey", "counts", "bits"))
    for name, x in (("grey", grey), ("counts", counts), ("bits", bits)):
        x.view(-1)[0] = 0.4
        response = coders_client.post("/compress", json={"model": name, "instances": x.tolist()})
        problem_of(response, 422, "not-lossless")
    ones = npy((pixels("bits", 1) > 0).astype(np.uint8))
    response = coders_client.post("/compress", content=ones, headers=NPY_HEADERS)
    assert "0 and 255" in problem_of(response, 422, "not-lossless")["detail"]


def test_what_is_refused_elsewhere_is_refused_here(coders_client: Client, client: Client) -> None:
    response = client.post("/compress", json={"instances": np.zeros((1, 1, 8, 8)).tolist()})
    says = problem_of(response, 422, "unsupported-operation")["detail"]
    assert "jem has no operation compress: it has sample" in says
    many = npy(np.zeros((81, 1, 4, 4)))
    problem_of(
        coders_client.post("/compress", content=many, headers=NPY_HEADERS), 422, "too-many-rows"
    )
    problem_of(coders_client.post("/compress", json={}), 422, "invalid-request")
    problem_of(coders_client.post("/compress", json={"images": ["?"]}), 422, "invalid-image")
    accept = {"accept": "image/png"}
    body = {"instances": np.zeros((1, 1, 4, 4)).tolist()}
    problem_of(coders_client.post("/compress", json=body, headers=accept), 406, "not-acceptable")
    problem_of(coders_client.post("/compress", json={**body, "seed": 1}), 422, "invalid-request")


def sent(client: Client, data: bytes, url: str = "/decompress", **headers: str) -> Any:
    return client.post(url, content=data, headers={**STREAM_HEADERS, **headers})


FORGED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": "nobody"}, "other-model", "it needs nobody@"),
    ({"model": "grey"}, "other-model", "it needs grey@"),
    ({"version": "0" * 12}, "other-model", "it needs bits@000000000000: there are bits@"),
    ({"backend": "fx0-00000000"}, "other-backend", "it needs fx0-00000000: accepted is"),
    ({"backend": ""}, "other-backend", backend_id()),
    ({"event_shape": (1, 4, 5)}, "damaged-stream", "(1, 4, 5) with 2 levels"),
    ({"event_shape": (2**32,) * 8}, "damaged-stream", "4294967296"),
    ({"num_levels": 256}, "damaged-stream", "with 256 levels"),
    ({"segments": (bytes(33), b"")}, "damaged-stream", "at most 32"),
    ({"segments": (b"", bytes(5))}, "damaged-stream", "at most 4"),
    ({"num_images": 81, "segments": (b"",) * 6}, "too-many-rows", "at most 80"),
]


@pytest.mark.parametrize(("fields", "slug", "says"), FORGED)
def test_a_stream_of_something_else_is_refused(
    coders_client: Client, fields: dict[str, Any], slug: str, says: str
) -> None:
    sound = unpack(compressed(coders_client, "bits", 18), 80)
    assert sent(coders_client, sound.pack()).status_code == 200
    forged = replace(sound, **fields)
    for headers in ({}, ACCEPT_EVENTS):
        document = problem_of(sent(coders_client, forged.pack(), **headers), 422, slug)
        assert says in document["detail"]
        if slug == "other-model":
            assert document["needs"] == forged.needs


def test_plain_levels_that_are_none_are_damage(coders_client: Client) -> None:
    full = replace(unpack(compressed(coders_client, "grey", 1), 80), segments=(b"\xff" * 13,))
    says = problem_of(sent(coders_client, full.pack()), 422, "damaged-stream")["detail"]
    assert "level 31: accepted are 0 to 16" in says


def test_the_model_of_a_request_is_the_one_of_the_stream(coders_client: Client) -> None:
    sound = compressed(coders_client, "bits", 1)
    needs = unpack(sound, 80).needs
    for name in ("bits", needs):
        response = sent(coders_client, sound, f"/decompress?model={name}")
        assert response.headers["x-model"] == needs
    for name in ("grey", "nobody", "bits@000000000000"):
        response = sent(coders_client, sound, f"/decompress?model={name}")
        assert needs in problem_of(response, 422, "invalid-request")["detail"]


def test_bodies_and_forms_that_are_refused(coders_client: Client) -> None:
    def ask(**body: Any) -> Any:
        return coders_client.post("/decompress", json=body)

    sound = compressed(coders_client, "bits", 2)
    text = base64.b64encode(sound).decode()
    assert ask(stream=text).status_code == 200
    problem_of(ask(), 422, "invalid-request")
    problem_of(ask(stream=7), 422, "invalid-request")
    problem_of(ask(stream=""), 422, "not-a-stream")
    problem_of(ask(stream="%%%"), 400, "malformed-body")
    problem_of(ask(stream=text, images=[]), 422, "invalid-request")
    problem_of(ask(stream=text, progress_every=0), 422, "invalid-request")
    problem_of(sent(coders_client, sound, f"/decompress?stream={text[:8]}"), 422, "invalid-request")
    problem_of(sent(coders_client, b""), 400, "malformed-body")
    problem_of(sent(coders_client, bytes(300_001)), 413, "payload-too-large")
    picture = coders_client.post(
        "/decompress", content=sound, headers={"content-type": "image/png"}
    )
    problem_of(picture, 415, "unsupported-media-type")
    several = sent(coders_client, sound, accept="image/png")
    assert "application/zip" in problem_of(several, 406, "not-acceptable")["detail"]
    counts = compressed_counts(coders_client)
    for accept in ("image/png", "application/zip"):
        problem_of(sent(coders_client, counts, accept=accept), 406, "not-acceptable")


def compressed_counts(client: Client) -> bytes:
    """A stream of one vector."""
    body = {"model": "counts", "instances": events("counts", 1).tolist()}
    content: bytes = client.post("/compress", json=body).content
    return content


def spoilt(sound: bytes, random: np.random.Generator) -> bytes:
    """A stream with some bytes changed, lost, added, exchanged or cut off; or another file."""
    i, j = np.sort(random.integers(0, len(sound) + 1, 2)).tolist()
    junk = random.bytes(int(random.integers(1, 41)))
    kinds = (
        sound[:i],
        sound[i:],
        sound[:i] + sound[j:],
        sound[:i] + junk + sound[i:],
        sound[:i] + junk[:1] + sound[i + 1 :],
        sound[:i] + junk + sound[i + len(junk) :],
        sound[:i] + sound[j:] + sound[i:j],
        junk,
        sound[:4] + junk,
        file(BITS),
    )
    return kinds[random.integers(len(kinds))]


@pytest.mark.parametrize("name", CODERS)
def test_a_thousand_spoilt_streams_are_refused(coders_client: Client, name: str) -> None:
    sound = (
        compressed_counts(coders_client)
        if name == "counts"
        else compressed(coders_client, name, 18)
    )
    random, num_refused = np.random.default_rng(len(name)), 0
    while num_refused < 1000 / len(CODERS):
        data = spoilt(sound, random)
        if data not in (sound, b""):
            response = sent(coders_client, data)
            assert response.status_code == 422
            assert response.headers["content-type"] == "application/problem+json"
            num_refused += 1


@pytest.mark.parametrize("name", PICTURES)
def test_codes_of_nobody_are_images_or_damage(coders_client: Client, name: str) -> None:
    sound, random = (
        unpack(compressed(coders_client, name, 18), 80),
        np.random.default_rng(len(name)),
    )
    for size in [*range(5), *map(len, sound.segments), 90]:
        forged = replace(sound, segments=(random.bytes(size), random.bytes(size // 5)))
        response = sent(coders_client, forged.pack(), accept="application/x-npy")
        assert response.status_code in (200, 422)
