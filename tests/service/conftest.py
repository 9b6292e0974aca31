"""Tiny bundles on disk, and the application over them without a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.core.bundle.bundle import save
from service.logs import configure
from service.settings import Settings
from tests.support.service.apps import Client, client_of
from tests.support.service.bundles import make_bundle
from tests.support.service.coders import save_coders
from tests.support.service.flows import AUTOENCODERS, save_flows
from tests.support.service.models import tiny_model
from tests.support.service.screens import save_screens


@pytest.fixture(scope="session", autouse=True)
def _terse_log() -> None:
    """The log as it is served, not structlog's for terminals, which draws every local."""
    configure("error")


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


@pytest.fixture(scope="session")
def client(settings: Settings) -> Iterator[Client]:
    """A client of one app that most tests share."""
    with client_of(settings) as client:
        yield client


@pytest.fixture(scope="session")
def flows_client(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with models of known likelihood; see `CONFIGS` for their names."""
    folder = tmp_path_factory.mktemp("flows")
    save_flows(folder)
    update = {"bundles": (str(folder),), "default_model": "pixels"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def autoencoders_client(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of an app with models that reconstruct; see `AUTOENCODERS` for their names."""
    folder = tmp_path_factory.mktemp("autoencoders")
    save_flows(folder, AUTOENCODERS)
    update = {"bundles": (str(folder),), "default_model": "vae"}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def coders_client(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of an app with models that compress; see `CODERS` for their names."""
    folder = tmp_path_factory.mktemp("coders")
    save_coders(folder)
    update = {"bundles": (str(folder),), "default_model": "bits", "max_images": 80}
    with client_of(settings.model_copy(update=update)) as client:
        yield client


@pytest.fixture(scope="session")
def screens_client(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
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
