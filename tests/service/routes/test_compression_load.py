"""Compression under load: company, refusals and hang-ups change no pixel of anybody."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.settings import Settings
from tests.support.service.apps import AppClient, play, running, service_of, until
from tests.support.service.coders import CODERS, PICTURES, STREAM_HEADERS, pixels, save_coders
from tests.support.service.models import Count
from tests.support.service.pictures import NPY_HEADERS, npy
from tests.support.service.streaming import ACCEPT_EVENTS, parsed, picture, raw_post

AS_NPY = {**STREAM_HEADERS, "accept": "application/x-npy"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of models that compress."""
    folder = tmp_path_factory.mktemp("coders")
    save_coders(folder)
    return folder


@asynccontextmanager
async def serving(folder: Path, **limits: Any) -> AsyncIterator[AppClient]:
    """A client of an app with these models."""
    settings = Settings(
        bundles=(str(folder),), default_model="bits", log_level="error", **{"max_rows": 3, **limits}
    )
    async with running(settings) as client:
        yield client


async def there_and_back(client: AppClient, name: str, num: int, seed: int) -> int:
    """Wrong pixels of so many images, after compression and decompression."""
    sent = pixels(name, num, seed)
    stream = await client.post(f"/compress?model={name}", content=npy(sent), headers=NPY_HEADERS)
    assert stream.status_code == 200, stream.text
    back = await client.post("/decompress", content=stream.content, headers=AS_NPY)
    assert back.status_code == 200, back.text
    found = np.load(io.BytesIO(back.content))
    assert found.shape == sent.shape
    return int((found != sent).sum())


async def watched(client: AppClient, name: str, seed: int) -> int:
    """Wrong pixels of one image, decoded as a stream of events."""
    sent = pixels(name, 1, seed)
    stream = await client.post(f"/compress?model={name}", content=npy(sent), headers=NPY_HEADERS)
    headers = {**STREAM_HEADERS, **ACCEPT_EVENTS}
    back = await client.post(
        "/decompress?progress_every=3", content=stream.content, headers=headers
    )
    name, data = parsed(back.content)[-1]
    assert name == "result"
    image = picture(data["images"][0])
    image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return int((image != sent[0]).sum())


async def other_traffic(client: AppClient, name: str, seed: int) -> int:
    """Samples and likelihoods of the same model; how many failed."""
    body = {"model": name, "num_samples": 5, "seed": seed, "format": "arrays"}
    sample = await client.post("/sample", json=body)
    instances = {"model": name, "instances": sample.json()["samples"]}
    rated = await client.post("/log_likelihood", json=instances)
    return (sample.status_code != 200) + (rated.status_code != 200)


async def broken(client: AppClient, name: str, seed: int) -> int:
    """A stream that is refused; whether it was not."""
    content = npy(pixels(name, 1, seed))
    stream = await client.post(f"/compress?model={name}", content=content, headers=NPY_HEADERS)
    spoilt = await client.post("/decompress", content=stream.content[:-1], headers=STREAM_HEADERS)
    return int(spoilt.status_code != 422)


def test_one_image_and_many_in_company_come_back_without_a_wrong_pixel(folder: Path) -> None:
    async def story() -> None:
        async with serving(folder) as client:
            work: list[Awaitable[int]] = []
            for seed, name in enumerate(PICTURES):
                work.append(there_and_back(client, name, 64, seed))
                work += [there_and_back(client, name, 1, 10 * seed + i) for i in range(8)]
                work += [watched(client, name, seed), broken(client, name, seed)]
                work += [other_traffic(client, name, 10 * seed + i) for i in range(3)]
            assert await asyncio.gather(*work) == [0] * 14 * len(PICTURES)
            assert service_of(client).worker.rows_inside == 0

    play(story())


def test_the_stream_does_not_depend_on_the_company(folder: Path) -> None:
    async def story() -> None:
        contents = [npy(pixels("lines", num, seed=num)) for num in (1, 17, 40)]

        async def compressed(client: AppClient, content: bytes) -> bytes:
            response = await client.post(
                "/compress?model=lines", content=content, headers=NPY_HEADERS
            )
            return response.content

        async with serving(folder, max_rows=64) as client:
            alone = [await compressed(client, content) for content in contents]
            together = await asyncio.gather(*(compressed(client, content) for content in contents))
        async with serving(folder, max_rows=1) as client:
            one_by_one = [await compressed(client, content) for content in contents]
        assert alone == together == one_by_one

    play(story())


def test_overload_and_deadline_are_as_everywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        content = npy(pixels("lines", 48))
        async with serving(folder, max_rows_inside=3, client_share=1) as client:
            url = "/compress?model=lines"
            stream = (await client.post(url, content=content, headers=NPY_HEADERS)).content
            worker = service_of(client).worker
            lane = service_of(client).catalog.find("lines").operation("decompress").lane
            free = asyncio.Event()
            operation = worker._engine.lanes[lane].operation
            sound, loop = operation.step, asyncio.get_running_loop()

            def held(rows: Any) -> Any:
                asyncio.run_coroutine_threadsafe(free.wait(), loop).result()
                return sound(rows)

            monkeypatch.setattr(operation, "step", held)
            long = asyncio.create_task(
                client.post("/decompress", content=stream, headers=STREAM_HEADERS)
            )
            await until(lambda: worker.rows_inside == 3)
            for headers in (STREAM_HEADERS, {**STREAM_HEADERS, **ACCEPT_EVENTS}):
                refused = await client.post("/decompress", content=stream, headers=headers)
                assert refused.status_code == 429
                assert refused.json()["type"] == "/problems/overloaded"
                assert int(refused.headers["retry-after"]) >= 1
            many = npy(pixels("lines", 49))
            refused = await client.post(url, content=many, headers=NPY_HEADERS)
            assert refused.json()["type"] == "/problems/too-many-rows"
            free.set()
            assert (await long).status_code == 200
        async with serving(folder, timeout_s=0.001) as client:
            late = await client.post("/decompress", content=stream, headers=STREAM_HEADERS)
            assert late.status_code == 504
            assert service_of(client).worker.rows_inside == 0

    play(story())


class Endless(Count):
    """Shows its column x for ever."""

    needs_events = False

    def num_steps(self, params: Any) -> int:
        return 10**9

    def init(self, inputs: Any, params: Any) -> Any:
        return {"x": torch.zeros(len(inputs["code"]), 16, 1, 3, 4)}


def test_closing_the_connection_stops_the_decoder(folder: Path) -> None:
    async def story() -> None:
        async with serving(folder) as client:
            content = npy(pixels("deep", 20))
            stream = await client.post("/compress?model=deep", content=content, headers=NPY_HEADERS)
            worker, gone = service_of(client).worker, asyncio.Event()
            lane = service_of(client).catalog.find("deep").operation("decompress").lane
            worker._engine.lanes[lane].operation = Endless()
            sent: list[dict[str, Any]] = []
            url, headers = "/decompress?progress_every=1", {**STREAM_HEADERS, **ACCEPT_EVENTS}
            call = asyncio.create_task(raw_post(client, url, stream.content, headers, gone, sent))
            await until(lambda: len(sent) > 2)
            assert worker.rows_inside == 2
            gone.set()
            await call
            await until(lambda: worker.rows_inside == 0)
            async with asyncio.timeout(30):
                line = 'likely_cancelled_total{where="running"} 1.0'
                while line not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0)

    play(story())


def test_json_streams_and_raw_ones_share_the_service(folder: Path) -> None:
    async def story() -> None:
        async with serving(folder) as client:
            for name in CODERS:
                body = {"model": name, "num_samples": 3, "seed": 5, "format": "arrays"}
                samples = (await client.post("/sample", json=body)).json()["samples"]
                request = {"model": name, "instances": samples}
                small = await client.post(
                    "/compress", json=request, headers={"accept": "application/json"}
                )
                back = await client.post("/decompress", json={"stream": small.json()["stream"]})
                assert back.status_code == 200
                raw = base64.b64decode(small.json()["stream"])
                same = await client.post("/decompress", content=raw, headers=STREAM_HEADERS)
                assert same.content == back.content

    play(story())


def test_a_large_stream_is_read_like_a_small_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        monkeypatch.setattr("service.routes.compression._LARGE_BYTES", 10)
        async with serving(folder) as client:
            assert await there_and_back(client, "colour", 20, seed=1) == 0
            assert await broken(client, "colour", seed=1) == 0

    play(story())
