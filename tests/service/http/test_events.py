"""Event streams: progress with pictures, one result, problems, and rows freed by a hang-up."""

import asyncio
import json
import threading
from typing import Any

import numpy as np
import pytest
import torch

from models.core.contract.grid import quantise
from service.http.forms import event_stream
from service.media.encode import tiled
from service.schema import responses
from service.settings import Settings
from tests.support.service.apps import Client, play, running, service_of, until
from tests.support.service.flows import flow
from tests.support.service.models import Failing, inputs, states
from tests.support.service.problems import problem_of
from tests.support.service.reference import JEM
from tests.support.service.streaming import ACCEPT_EVENTS, events_in, parsed, picture, raw_post

JSON_AND_EVENTS = {**ACCEPT_EVENTS, "content-type": "application/json"}


def without_timing(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "timing_ms"}


def test_samples_are_shown_while_they_are_made(client: Client) -> None:
    body = {"num_samples": 3, "seed": 7, "params": {"num_steps": 8, "start": "noise"}}
    response = client.post("/sample", json={**body, "progress_every": 3}, headers=ACCEPT_EVENTS)
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *progress, (name, result) = events_in(response)
    assert name == "result"
    expected = client.post("/sample", json=body).json()
    assert without_timing(result) == without_timing(expected)
    responses.SampleAnswer.model_validate(result)
    assert [(event, data["step"], data["of"]) for event, data in progress] == [
        ("progress", 3, 8),
        ("progress", 6, 8),
    ]
    operation: Any = JEM.operations()["sample"]
    made = states(
        operation,
        inputs(3, seed=7, label=torch.full((3,), -1)),
        operation.params(num_steps=8, start="noise"),
    )
    for (_, data), x in zip(progress, (made[2], made[5]), strict=True):
        shown = picture(data["preview"]).astype(int)
        assert np.abs(shown - tiled(quantise(x).numpy())[0]).max() <= 1


def test_a_drawn_pixel_stays_as_it_was_shown(flows_client: Client) -> None:
    body = {"model": "discrete", "seed": 3, "progress_every": 1}
    *progress, (_, result) = events_in(
        flows_client.post("/sample", json=body, headers=ACCEPT_EVENTS)
    )
    final = picture(result["samples"][0]).ravel()
    assert [data["step"] for _, data in progress] == list(range(1, 9))
    for _, data in progress:
        shown = picture(data["preview"]).ravel()
        assert np.array_equal(shown[: data["step"]], final[: data["step"]])
        assert not shown[data["step"] :].any()


def test_the_rows_of_a_split_request_are_shown_together(client: Client) -> None:
    body = {"num_samples": 20, "seed": 1, "params": {"num_steps": 4, "start": "noise"}}
    url = "/sample?progress_every=1"
    *progress, (_, result) = events_in(client.post(url, json=body, headers=ACCEPT_EVENTS))
    steps = [data["step"] for _, data in progress]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 3)
    assert len(steps) >= 6
    assert all(picture(data["preview"]).shape == (38, 48) for _, data in progress)
    assert len(result["samples"]) == 20


def test_one_step_has_no_progress(flows_client: Client) -> None:
    for model in ("pixels", "table"):
        body = {"model": model, "seed": 1, "num_samples": 2}
        ((name, result),) = events_in(
            flows_client.post("/sample", json=body, headers=ACCEPT_EVENTS)
        )
        assert name == "result"
        assert without_timing(result) == without_timing(
            flows_client.post("/sample", json=body).json()
        )


def test_what_is_refused_before_it_begins_is_an_ordinary_problem(client: Client) -> None:
    def ask(**body: Any) -> Any:
        return client.post("/sample", json=body, headers=ACCEPT_EVENTS)

    problem_of(ask(num_samples=33), 422, "too-many-rows")
    problem_of(ask(progress_every=0), 422, "invalid-request")
    problem_of(ask(params={"start": "data"}), 422, "invalid-request")
    problem_of(ask(label="dog"), 422, "invalid-request")
    response = client.post("/energy", json={"instances": [[]]}, headers=ACCEPT_EVENTS)
    problem_of(response, 406, "not-acceptable")


def test_failure_and_deadline_are_told_within_the_stream(settings: Settings) -> None:
    async def story() -> None:
        slow = {"params": {"num_steps": 10_000}}
        async with running(settings.model_copy(update={"timeout_s": 0.05})) as client:
            late = await client.post("/sample", json=slow, headers=ACCEPT_EVENTS)
            name, data = events_in(late)[-1]
            assert name == "problem"
            assert data["type"] == "/problems/deadline-exceeded"
            assert data["instance"] == late.headers["x-request-id"]
            assert service_of(client).worker.rows_inside == 0
            lane = service_of(client).catalog.find(None).operation("sample").lane
            service_of(client).worker._engine.lanes[lane].operation = Failing()
            broken = await client.post("/sample", json={}, headers=ACCEPT_EVENTS)
            assert [name for name, _ in events_in(broken)] == ["problem"]
            assert events_in(broken)[0][1]["type"] == "/problems/step-failed"

    play(story())


def test_an_unexpected_error_is_told_and_logged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with running(settings) as client:
            monkeypatch.setattr("service.http.forms.samples.reply", None)
            sent: list[dict[str, Any]] = []
            never = asyncio.Event()
            await raw_post(client, "/sample", b"{}", JSON_AND_EVENTS, never, sent)
            content = b"".join(message.get("body", b"") for message in sent)
            name, data = parsed(content)[-1]
            assert name == "problem"
            assert data["type"] == "/problems/internal"
            assert sent[-1]["more_body"]

    play(story())


def test_closing_the_connection_frees_the_rows(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings) as client:
            service, gone = service_of(client), asyncio.Event()
            sent: list[dict[str, Any]] = []
            body = {"params": {"num_steps": 10_000}, "num_samples": 4, "progress_every": 1}
            call = asyncio.create_task(
                raw_post(client, "/sample", json.dumps(body).encode(), JSON_AND_EVENTS, gone, sent)
            )
            await until(lambda: len(sent) > 3)
            assert service.worker.rows_inside == 4
            gone.set()
            await call
            await until(lambda: service.worker.rows_inside == 0)
            async with asyncio.timeout(30):
                line = 'likely_cancelled_total{where="running"} 1.0'
                while line not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0)
            assert {name for name, _ in parsed(sent[1]["body"])} == {"progress"}

    play(story())


def test_a_long_wait_is_bridged_by_comments(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        monkeypatch.setattr(event_stream, "_PING_S", 0.001)
        async with running(settings) as client:
            free, never = threading.Event(), asyncio.Event()
            service_of(client).worker.call(free.wait)
            sent: list[dict[str, Any]] = []
            call = asyncio.create_task(
                raw_post(client, "/sample", b"{}", JSON_AND_EVENTS, never, sent)
            )
            await until(lambda: len(sent) > 3)
            assert {message["body"] for message in sent[1:]} == {b": ping\n\n"}
            free.set()
            await call
            name, data = parsed(b"".join(message.get("body", b"") for message in sent))[-1]
            assert name == "result"
            assert len(data["samples"]) == 1

    play(story())


def test_the_models_of_these_tests_draw_one_pixel_a_step() -> None:
    operation = flow("discrete").operations()["sample"]
    assert operation.num_steps(operation.default_params) == 9
