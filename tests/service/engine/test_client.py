"""The seam: all that crosses it can be pickled, and answers are the same when it is."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, get_args

import httpx
import numpy as np
import pytest

from models.core.contract.noise import row_seeds
from service.app import ENDPOINTS, create_app
from service.engine.client import Client
from service.engine.messages import Event, Failure, Message, Notice, Reply
from service.engine.worker import Worker
from service.errors import NotReady, Overloaded, ServiceError, StepFailed, TooManyRows
from service.service import Service
from service.settings import Settings
from tests.support.service.apps import AppClient, play, service_of, until
from tests.support.service.apps import Client as Shared
from tests.support.service.coders import events
from tests.support.service.models import Count
from tests.support.service.pictures import npy, png
from tests.support.service.screens import X

T = TypeVar("T")
NPY = {"content-type": "application/x-npy"}
PNG = {"content-type": "image/png"}
JEM = {"model": "jem", "instances": X[:3].tolist()}
FEW_STEPS = {"model": "jem", "num_samples": 3, "seed": 7, "params": {"num_steps": 5}}
TIMES = ("timing_ms", "instance")
FORMS = ("application/json", "image/png", "image/gif", "text/event-stream")


class Pickling(Client):
    """Copies whatever crosses, as it would be for a worker in a process of its own."""

    def __init__(self, worker: Worker, notice: Callable[[Notice], None]) -> None:
        self.crossed: set[type] = set()
        super().__init__(worker, notice)

    def send(self, message: Message) -> Reply:
        return self._copy(super().send(self._copy(message)))

    def receive(self, event: Event) -> None:
        super().receive(self._copy(event))

    def _copy(self, it: T) -> T:
        self.crossed.add(type(it))
        copy: T = pickle.loads(pickle.dumps(it))
        return copy


@asynccontextmanager
async def pickling(settings: Settings) -> AsyncIterator[AppClient]:
    """A client of an app that talks to its worker in pickles."""
    app = create_app(settings)
    app.state.service = Service(settings, Pickling)
    async with app.router.lifespan_context(app):
        await app.state.service.loading
        async with AppClient(app) as client:
            yield client


def with_screens() -> list[tuple[str, dict[str, Any]]]:
    """Requests to a service with screens: path and what to send."""
    made = [
        ("/sample", {"json": {**FEW_STEPS, "progress_every": 2}, "headers": {"accept": form}})
        for form in FORMS
    ]
    return [
        *made,
        ("/sample", {"json": {**FEW_STEPS, "label": "star", "format": "arrays"}}),
        ("/sample", {"json": {"params": {"start": "data"}}}),
        ("/log_likelihood", {"json": {**JEM, "params": {"estimator": "ais"}}}),
        ("/energy?model=ebm", {"content": png(), "headers": PNG}),
        ("/ood_score", {"json": {"instances": JEM["instances"]}}),
        ("/ood_score", {"json": {**JEM, "score": "energy_typicality"}}),
        ("/classify", {"json": JEM}),
        ("/classify", {"json": {**JEM, "score": "energy"}}),
        ("/classify?model=screen", {"content": png(), "headers": PNG}),
        ("/classify?model=jem_raw", {"content": png(), "headers": PNG}),
    ]


def with_latents() -> list[tuple[str, dict[str, Any]]]:
    """Requests to a service with autoencoders."""
    x = np.random.default_rng(0).random((2, 1, 4, 4)).round(1).tolist()
    return [
        *[("/encode", {"json": {"model": m, "instances": x}}) for m in ("vae", "pixelvae")],
        *[
            ("/reconstruct", {"json": {"model": m, "instances": x}, "headers": {"accept": form}})
            for m in ("vae", "pixelvae")
            for form in FORMS
        ],
        ("/decode", {"json": {"model": "vae", "latents": [[0.5, -1.0]]}}),
        ("/decode", {"json": {"model": "vae", "latents": [[0.5, -1.0, 2.0]]}}),
    ]


def with_streams(coders_client: Shared) -> list[tuple[str, dict[str, Any]]]:
    """Requests to a service with models that compress."""
    images = {"content": npy(events("deep", 20).numpy()), "headers": NPY}
    stream = coders_client.post("/compress?model=deep", **images).content
    kind = "application/x-likely"
    back = [
        ("/decompress", {"content": stream, "headers": {"content-type": kind, "accept": form}})
        for form in ("application/json", "application/x-npy", "text/event-stream")
    ]
    return [("/compress?model=deep", images), *back]


def told(response: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, but for the times in them."""
    times = {"x-queue-ms", "x-compute-ms", "x-request-id", "content-length"}
    headers = {name: value for name, value in response.headers.items() if name not in times}
    lines = []
    for line in response.content.split(b"\n"):
        data = line.removeprefix(b"data: ")
        if data.startswith(b"{"):
            content = json.loads(data)
            line = json.dumps({n: v for n, v in content.items() if n not in TIMES}).encode()
        lines.append(line)
    return response.status_code, headers, b"\n".join(lines)


def test_answers_are_the_same_through_pickles(
    screens_client: Shared, autoencoders_client: Shared, coders_client: Shared
) -> None:
    shared = [
        (screens_client, with_screens()),
        (autoencoders_client, with_latents()),
        (coders_client, with_streams(coders_client)),
    ]
    paths = {url.partition("?")[0] for _, requests in shared for url, _ in requests}
    assert paths == {endpoint.path for endpoint in ENDPOINTS}

    async def through_pickles(
        client: Shared, requests: list[tuple[str, dict[str, Any]]]
    ) -> list[Any]:
        async with pickling(client.app.state.service.settings) as other:
            return [told(await other.post(url, **request)) for url, request in requests]

    for client, requests in shared:
        plain = [told(client.post(url, **request)) for url, request in requests]
        assert sum(status == 200 for status, *_ in plain) >= len(requests) - 1
        assert asyncio.run(through_pickles(client, requests)) == plain


class Failing(Count):
    """Always fails."""

    needs_events = False

    def step(self, rows: Any) -> Any:
        raise RuntimeError("always")


def test_every_kind_of_message_crosses_in_pickles(settings: Settings) -> None:
    async def story() -> None:
        places = (*settings.bundles, "/nowhere")
        async with pickling(settings.model_copy(update={"bundles": places})) as client:
            service = service_of(client)
            assert isinstance(service.engine, Pickling)
            gif = {"accept": "image/gif"}
            assert (await client.post("/sample", json=FEW_STEPS, headers=gif)).is_success
            operation = service.catalog.find("jem").operation("sample")
            forever = type(operation.default_params)(num_steps=10_000)
            inputs = {"seed": row_seeds(0, 2)}
            long = await service.engine.submit(operation.lane, inputs, forever)
            await until(lambda: service.engine.status().rows_inside == 2)
            assert long.cancel()
            assert service.engine.status().rows_inside == 0
            with pytest.raises(TooManyRows):
                await service.engine.submit(operation.lane, {"seed": row_seeds(0, 10**5)}, forever)
            service.worker._engine.lanes[operation.lane].operation = Failing()
            failed = await client.post("/sample", json={})
            assert failed.json()["type"] == "/problems/step-failed"
            service.engine.close()
        crossed.update(service.engine.crossed)

    crossed: set[type] = set()
    play(story())
    assert crossed == set(get_args(Message)) | set(get_args(Reply)) | set(get_args(Event))


@pytest.mark.parametrize(
    "error", [Overloaded("full", 2.5), StepFailed("poison"), NotReady("not yet")]
)
def test_a_failure_is_the_error_that_it_was_made_of(error: ServiceError) -> None:
    copy = pickle.loads(pickle.dumps(Failure.of(error, 3)))
    assert copy.request == 3
    assert type(copy.error()) is type(error)
    assert copy.error().document("id") == error.document("id")
    assert copy.error().headers == error.headers


def test_an_error_that_is_nobodys_fault_is_internal() -> None:
    assert type(Failure.of(ZeroDivisionError("1 / 0")).error()) is ServiceError
