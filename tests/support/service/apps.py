"""Apps that run in this process, and clients of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from service.app import create_app
from service.service import Service
from service.settings import Settings

LONG = {"params": {"num_steps": 10_000}, "num_samples": 4}


class AppClient(httpx.AsyncClient):
    """A client of an app in this process."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(transport=httpx.ASGITransport(app), base_url="http://test")
        self.app = app


@asynccontextmanager
async def running(settings: Settings, ready: bool = True) -> AsyncIterator[AppClient]:
    """A client of an app that has been started."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        if ready:
            await app.state.service.loading
        async with AppClient(app) as client:
            yield client


def service_of(client: AppClient) -> Service:
    service: Service = client.app.state.service
    return service


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; fails after a bound."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


def play(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


class Client:
    """A synchronous face of an app that lives on an event loop of its own."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.runner = runner
        self.http = client
        self.app = app

    def get(self, url: str, **kwargs: object) -> httpx.Response:
        """One GET."""
        return self.runner.run(self.http.get(url, **kwargs))  # type: ignore[arg-type]

    def post(self, url: str, **kwargs: object) -> httpx.Response:
        """One POST."""
        return self.runner.run(self.http.post(url, **kwargs))  # type: ignore[arg-type]

    def request(self, method: str, url: str, **kwargs: object) -> httpx.Response:
        """One request."""
        return self.runner.run(self.http.request(method, url, **kwargs))  # type: ignore[arg-type]


@contextmanager
def client_of(settings: Settings) -> Iterator[Client]:
    """A client of an app on an event loop of its own."""
    with asyncio.Runner() as runner:
        context = running(settings)
        http = runner.run(context.__aenter__())
        yield Client(runner, http, http.app)
        runner.run(context.__aexit__(None, None, None))
