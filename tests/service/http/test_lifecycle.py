"""Overload, deadlines, hang-ups and failures, in process and without sleeping."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from service.settings import Settings
from tests.support.service.apps import LONG, play, running, service_of, until
from tests.support.service.models import Failing
from tests.support.service.pictures import PNG_HEADERS, png
from tests.support.service.streaming import raw_post

JSON = {"content-type": "application/json"}


def test_overload_is_429_with_retry_after(settings: Settings) -> None:
    async def story() -> None:
        async with running(
            settings.model_copy(update={"max_rows_inside": 5, "client_share": 1})
        ) as client:
            service = service_of(client)
            long = asyncio.create_task(client.post("/sample", json=LONG))
            await until(lambda: service.worker.rows_inside == 4)
            refused = await client.post("/sample", json={"num_samples": 2})
            assert refused.status_code == 429
            assert refused.json()["type"] == "/problems/overloaded"
            assert int(refused.headers["retry-after"]) >= 1
            small = await client.post("/energy", content=png(), headers=PNG_HEADERS)
            assert small.status_code == 200
            too_many = await client.post("/sample", json={"num_samples": 6})
            assert too_many.json()["type"] == "/problems/too-many-rows"
            long.cancel()
            await until(lambda: service.worker.rows_inside == 0)
            assert "likely_shed_total 1.0" in (await client.get("/metrics")).text

    play(story())


def test_the_deadline_is_504_and_cancels_the_work(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings.model_copy(update={"timeout_s": 0.05})) as client:
            late = await client.post("/sample", json=LONG)
            assert late.status_code == 504
            assert late.json()["type"] == "/problems/deadline-exceeded"
            assert service_of(client).worker.rows_inside == 0
            await _until_metric(client, "likely_cancelled_total{")

    play(story())


async def _until_metric(client: httpx.AsyncClient, line: str) -> None:
    async with asyncio.timeout(30):
        while line not in (await client.get("/metrics")).text:
            await asyncio.sleep(0)


def test_a_hang_up_cancels_the_work(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings) as client:
            service = service_of(client)
            gone = asyncio.Event()
            sent: list[dict[str, Any]] = []
            body = json.dumps(LONG).encode()
            call = asyncio.create_task(raw_post(client, "/sample", body, JSON, gone, sent))
            await _until_metric(client, 'likely_step_rows_count{model="jem",operation="sample"}')
            gone.set()
            await call
            assert service.worker.rows_inside == 0
            assert sent[0]["status"] == 499
            await _until_metric(client, 'likely_cancelled_total{where="running"} 1.0')
            code = 'likely_requests_total{code="499",endpoint="/sample",model="jem"} 1.0'
            assert code in (await client.get("/metrics")).text

    play(story())


def test_a_client_that_vanishes_while_sending_is_no_error(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings) as client:
            gone = asyncio.Event()
            gone.set()
            sent: list[dict[str, Any]] = []
            await raw_post(client, "/sample", None, JSON, gone, sent)
            assert sent[0]["status"] == 499

    play(story())


def test_a_body_that_does_not_arrive_is_408(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings.model_copy(update={"body_timeout_s": 0.02})) as client:
            sent: list[dict[str, Any]] = []
            await raw_post(client, "/sample", None, JSON, asyncio.Event(), sent)
            assert sent[0]["status"] == 408

    play(story())


def test_a_failing_operation_is_500_and_the_next_request_is_answered(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings) as client:
            model = service_of(client).catalog.find(None)
            lane = service_of(client).worker._engine.lanes[model.operation("energy").lane]
            sound, lane.operation = lane.operation, Failing()
            broken = await client.post("/energy", content=png(), headers=PNG_HEADERS)
            assert broken.status_code == 500
            assert broken.json()["type"] == "/problems/step-failed"
            lane.operation = sound
            fine = await client.post("/energy", content=png(), headers=PNG_HEADERS)
            assert fine.status_code == 200
            failures = 'likely_step_failures_total{model="jem",operation="energy"}'
            assert failures in (await client.get("/metrics")).text

    play(story())


def test_an_unexpected_error_is_a_problem_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with running(settings) as client:
            monkeypatch.setattr("service.results.results.energies", None)
            response = await client.post("/energy", content=png(), headers=PNG_HEADERS)
            assert response.status_code == 500
            assert response.json()["type"] == "/problems/internal"
            assert response.json()["instance"] == response.headers["x-request-id"]

    play(story())
