"""Tiny bundles on disk, and the application over them without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import run
from service.app import create_app
from service.logs import configure
from service.service import Service
from service.settings import Settings
from tests.support.service.coders import save_coders
from tests.support.service.flows import AUTOENCODERS, save_flows
from tests.support.service.models import images, inputs, tiny_model
from tests.support.service.screens import save_screens

CLASS_NAMES = ("circle", "square", "star")
LONG = {"params": {"num_steps": 10_000}, "num_samples": 4}
PNG_HEADERS = {"content-type": "image/png"}


@pytest.fixture(scope="session", autouse=True)
def _terse_log() -> None:
    """The log as it is served, not structlog's for terminals, which draws every local."""
    configure("error")


def make_bundle(name: str, family: str, model: GenerativeModel, calibrated: bool = True) -> Bundle:
    """A bundle whose calibration set is random noise."""
    calibrations = {}
    if calibrated:
        x = images(99, model.event_shape, seed=5)
        columns = inputs(99, x=x, label=torch.full((99,), -1))
        energy = run(model.operations()["energy"], columns, None)["energy"]
        median = float(energy.median())
        calibrations = {
            "energy": Calibration.fit(energy),
            "energy_typicality": Calibration.fit((energy - median).abs(), median),
        }
    return Bundle(
        name=name,
        family=family,
        config=vars(model.config),
        weights=model.state_dict(),
        preprocessing=Preprocessing(height=8, width=8),
        class_names=CLASS_NAMES[: model.num_classes],
        calibrations=calibrations,
        calibration_source="99 images of noise" if calibrated else "",
        metrics={"accuracy": 0.25},
        provenance={"dataset": "noise"},
    )


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles: jem (with log Z), ebm, and jem_raw without calibration."""
    folder = tmp_path_factory.mktemp("bundles")
    jem = tiny_model("jem", log_z=3.0)
    save(make_bundle("jem", "jem", jem), folder / "jem")
    save(make_bundle("ebm", "ebm", tiny_model("ebm")), folder / "ebm")
    raw = make_bundle("jem_raw", "jem", tiny_model("jem", seed=1), calibrated=False)
    save(raw, folder / "jem_raw")
    return folder


@pytest.fixture(scope="session")
def settings(bundles: Path) -> Settings:
    """Small limits, so that tests can reach them."""
    return Settings(
        bundles=(str(bundles),),
        default_model="jem",
        max_rows=16,
        max_num_samples=32,
        max_images=40,
        max_body_bytes=300_000,
        timeout_s=30,
        log_level="error",
    )


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


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[Client]:
    """A client of one app that most tests share."""
    with client_of(settings) as client:
        yield client


@pytest.fixture(scope="session")
def flows(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with models of known likelihood; see `CONFIGS` for their names."""
    folder = tmp_path_factory.mktemp("flows")
    save_flows(folder)
    update = {"bundles": (str(folder),), "default_model": "pixels"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def autoencoders(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with models that reconstruct; see `AUTOENCODERS` for their names."""
    folder = tmp_path_factory.mktemp("autoencoders")
    save_flows(folder, AUTOENCODERS)
    update = {"bundles": (str(folder),), "default_model": "vae"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def coders(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with models that compress; see `CODERS` for their names."""
    folder = tmp_path_factory.mktemp("coders")
    save_coders(folder)
    update = {"bundles": (str(folder),), "default_model": "bits", "max_images": 80}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def screens(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with the models of `client` and screens of them; see `save_screens`."""
    folder = tmp_path_factory.mktemp("screens")
    save_screens(folder)
    update = {
        "bundles": (*settings.bundles, str(folder)),
        "default_screen": "screen",
        "backend": "torch",
    }
    with client_of(settings.model_copy(update=update)) as client:
        yield client
