"""Compression over HTTP: every form in and out, and the very pixels come back."""

import base64
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.core.coding.codec import SEGMENT, backend_id
from models.core.contract.operation import run
from service.media.stream import IMAGES_PER_SEGMENT, unpack
from service.schema import responses
from tests.support.service.apps import Client
from tests.support.service.coders import (
    CODERS,
    PICTURES,
    STREAM_HEADERS,
    coder,
    compressed,
    events,
    pixels,
)
from tests.support.service.pictures import NPY_HEADERS, file, npy, png_of
from tests.support.service.streaming import ACCEPT_EVENTS, events_in, picture

JSON = {"accept": "application/json"}


def opened(data: bytes) -> np.ndarray:
    """An image file. -> uint8 (C, H, W)."""
    image = np.asarray(Image.open(io.BytesIO(data)))
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)


def decompressed(client: Client, stream: bytes, accept: str, url: str = "/decompress") -> Any:
    return client.post(url, content=stream, headers={**STREAM_HEADERS, "accept": accept})


def as_npy(client: Client, stream: bytes) -> np.ndarray:
    """The events of a stream."""
    response = decompressed(client, stream, "application/x-npy")
    assert response.status_code == 200, response.text
    found: np.ndarray = np.load(io.BytesIO(response.content))
    return found


@pytest.mark.parametrize("num", [1, 16, 17, 80])
@pytest.mark.parametrize("name", PICTURES)
def test_the_same_pixels_come_back(coders_client: Client, name: str, num: int) -> None:
    stream = compressed(coders_client, name, num)
    found = as_npy(coders_client, stream)
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels(name, num))
    again = compressed(coders_client, name, num)
    assert again == stream


def test_a_stream_is_what_the_model_codes_alone(coders_client: Client) -> None:
    stream = unpack(compressed(coders_client, "grey", 18), 18)
    x = events("grey", 18)
    program = coder("grey").operations()["compress"]
    for segment, part in zip(stream.segments, x.split(SEGMENT), strict=True):
        padded = x.new_zeros(1, SEGMENT, *x.shape[1:])
        padded[0, : len(part)] = part
        columns = {"x": padded, "num_images": x.new_tensor([len(part)]).long()}
        code = run(program, columns, program.default_params)
        assert segment == code["code"][0, : int(code["num_bytes"])].numpy().tobytes()
    assert stream.backend == backend_id()
    assert stream.event_shape == (1, 4, 5)
    assert stream.num_levels == 17
    assert IMAGES_PER_SEGMENT == SEGMENT


def test_every_form_of_an_image_is_the_same_stream(coders_client: Client) -> None:
    for name in PICTURES:
        images = pixels(name, 3)
        files = [png_of(image) for image in images]
        expected = compressed(coders_client, name, 3)
        text = [base64.b64encode(data).decode() for data in files]
        for response in (
            coders_client.post(
                "/compress", files=[("files", f) for f in files], data={"model": name}
            ),
            coders_client.post("/compress", json={"model": name, "images": text}),
            coders_client.post(
                "/compress", json={"model": name, "instances": events(name, 3).double().tolist()}
            ),
        ):
            assert response.content == expected
        one = coders_client.post(
            f"/compress?model={name}", content=files[0], headers={"content-type": "image/png"}
        )
        assert one.content == compressed(coders_client, name, 1)


def test_black_and_white_in_one_bit_are_black_and_white(coders_client: Client) -> None:
    image = pixels("bits", 1)[0, 0]
    small = file(Image.fromarray(image > 0))
    assert Image.open(io.BytesIO(small)).mode == "1"
    response = coders_client.post("/compress", content=small, headers={"content-type": "image/png"})
    assert response.content == compressed(coders_client, "bits", 1)


def test_headers_say_how_much_was_saved(coders_client: Client) -> None:
    body = npy(pixels("grey", 5))
    response = coders_client.post("/compress?model=grey", content=body, headers=NPY_HEADERS)
    assert response.headers["content-type"] == "application/x-likely"
    stream = unpack(response.content, 5)
    assert response.headers["x-model"] == stream.needs
    assert response.headers["x-num-images"] == "5"
    assert response.headers["x-payload-bytes"] == str(stream.payload_bytes)
    assert response.headers["x-raw-bytes"] == "63"  # 5 * 20 values of 5 bits
    bits = 8 * stream.payload_bytes / 100
    assert float(response.headers["x-bits-per-dim"]) == pytest.approx(bits, abs=1e-6)
    same = coders_client.post("/compress?model=grey", content=body, headers={**NPY_HEADERS, **JSON})
    responses.CompressAnswer.model_validate(same.json())
    told = {name: v for name, v in same.json().items() if name != "timing_ms"}
    assert told == {
        "model": stream.needs,
        "stream": base64.b64encode(response.content).decode(),
        "num_images": 5,
        "num_bytes": len(response.content),
        "payload_bytes": stream.payload_bytes,
        "raw_bytes": 63,
        "bits_per_dim": pytest.approx(bits, abs=1e-6),
    }


def test_several_images_pay_for_one_header(coders_client: Client) -> None:
    one, many = (unpack(compressed(coders_client, "bits", num), 64) for num in (1, 64))
    assert len(one.segments) == 1
    assert len(many.segments) == 4
    overhead = [len(stream.pack()) - stream.payload_bytes for stream in (one, many)]
    assert overhead[1] == overhead[0] + 3
    assert many.payload_bytes <= 64 * 2 < 64 * len(one.pack())


def test_one_image_is_a_png_and_several_are_a_zip(coders_client: Client) -> None:
    for name in PICTURES:
        expected = pixels(name, 18)
        one = decompressed(coders_client, compressed(coders_client, name, 1), "*/*")
        assert one.headers["content-type"] == "image/png"
        assert np.array_equal(opened(one.content), expected[0])
        many = decompressed(coders_client, compressed(coders_client, name, 18), "*/*")
        assert many.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(many.content))
        assert archive.namelist() == [f"image_{i:04d}.png" for i in range(18)]
        for i, image in enumerate(expected):
            assert np.array_equal(opened(archive.read(f"image_{i:04d}.png")), image)
        single = decompressed(coders_client, compressed(coders_client, name, 1), "application/zip")
        assert zipfile.ZipFile(io.BytesIO(single.content)).namelist() == ["image_0000.png"]


def test_json_answers_and_bodies(coders_client: Client) -> None:
    stream = compressed(coders_client, "colour", 2)
    text = base64.b64encode(stream).decode()
    response = coders_client.post("/decompress", json={"stream": text}, headers=JSON)
    responses.DecompressAnswer.model_validate(response.json())
    assert response.json()["model"] == unpack(stream, 2).needs
    assert response.json()["num_images"] == 2
    found = [opened(base64.b64decode(image)) for image in response.json()["images"]]
    assert np.array_equal(found, pixels("colour", 2))
    back = {"model": "colour", "images": response.json()["images"]}
    assert coders_client.post("/compress", json=back).content == stream


def test_vectors_of_counts_come_back_as_numbers(coders_client: Client) -> None:
    x = events("counts", 20).numpy()
    body = {"model": "counts", "instances": x.tolist()}
    stream = coders_client.post("/compress", json=body).content
    assert np.array_equal(as_npy(coders_client, stream), x)
    response = decompressed(coders_client, stream, "application/json")
    assert response.json()["instances"] == x.tolist()
    assert response.json()["images"] is None
    assert decompressed(coders_client, stream, "*/*").headers["content-type"] == "application/x-npy"
    *progress, (_, result) = events_in(decompressed(coders_client, stream, "text/event-stream"))
    assert result["instances"] == x.tolist()
    assert {data["preview"] for _, data in progress} == {None}


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "whole"])
def test_images_are_shown_while_they_are_decoded(coders_client: Client, name: str) -> None:
    stream, expected = compressed(coders_client, name, 1), pixels(name, 1)[0]
    num_dims = expected.size
    url = "/decompress?progress_every=2"
    *progress, (event, result) = events_in(
        decompressed(coders_client, stream, "text/event-stream", url)
    )
    assert event == "result"
    assert np.array_equal(opened(base64.b64decode(result["images"][0])), expected)
    responses.DecompressAnswer.model_validate(result)
    steps = [data["step"] for _, data in progress]
    assert steps == list(range(2, num_dims, 2))
    wrong = []
    for _, data in progress:
        assert data["of"] == num_dims
        shown = picture(data["preview"])
        shown = shown[None] if shown.ndim == 2 else shown.transpose(2, 0, 1)
        wrong.append(int((np.abs(shown.astype(int) - expected) > 1).sum()))
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[-1] <= num_dims - steps[-1]


def test_parts_of_all_pixels_are_shown_as_they_come(coders_client: Client) -> None:
    url = "/decompress?progress_every=1"
    stream, expected = compressed(coders_client, "whole", 3), pixels("whole", 3)
    *progress, (event, result) = events_in(
        decompressed(coders_client, stream, "text/event-stream", url)
    )
    assert event == "result"
    found = [opened(base64.b64decode(image)) for image in result["images"]]
    assert np.array_equal(found, expected)
    assert [data["step"] for _, data in progress] == list(range(1, progress[0][1]["of"]))
    assert all(picture(data["preview"]).shape == (10, 10) for _, data in progress)


def test_several_segments_are_shown_in_one_picture(coders_client: Client) -> None:
    text = base64.b64encode(compressed(coders_client, "bits", 18)).decode()
    body = {"stream": text, "progress_every": 15, "model": "bits"}
    *progress, (_, result) = events_in(
        coders_client.post("/decompress", json=body, headers=ACCEPT_EVENTS)
    )
    assert len(result["images"]) == 18
    assert progress[-1][1]["step"] <= 15
    assert picture(progress[-1][1]["preview"]).shape == (4 * 4 + 3 * 2, 5 * 4 + 4 * 2)


def test_models_say_that_they_compress(coders_client: Client) -> None:
    models = coders_client.get("/models").json()["models"]
    assert {m["name"] for m in models} == set(CODERS)
    for model in models:
        assert {"compress", "decompress"} <= set(model["operations"])
    details = coders_client.get("/models/bits").json()["operations"]["decompress"]
    assert details["params"]["properties"] == {}
    assert details["outputs"] == ["x"]
