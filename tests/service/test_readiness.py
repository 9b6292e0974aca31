"""Before the models are warm, while draining, and with bundles that are damaged or missing."""

import asyncio
from pathlib import Path

import httpx
import numpy as np

from models.core.bundle.bundle import save
from service.app import create_app
from service.service import Service
from service.settings import Settings
from tests.support.service.apps import LONG, play, running, service_of, until
from tests.support.service.bundles import make_bundle
from tests.support.service.models import tiny_model
from tests.support.service.pictures import PNG_HEADERS, png


def test_it_lives_before_it_is_ready(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings, ready=False) as client:
            service = service_of(client)
            assert not service.loading.done()  # type: ignore[union-attr]
            assert (await client.get("/health/live")).status_code == 200
            for response in (
                await client.get("/health/ready"),
                await client.get("/models"),
                await client.post("/sample", json={}),
            ):
                assert response.status_code == 503
                assert response.json()["type"] == "/problems/not-ready"
            await service.loading  # type: ignore[misc]
            assert (await client.get("/health/ready")).status_code == 200

    play(story())


def test_while_draining_it_is_not_ready_and_takes_no_work(settings: Settings) -> None:
    async def story() -> None:
        async with running(settings) as client:
            service = service_of(client)
            long = asyncio.create_task(client.post("/sample", json=LONG))
            await until(lambda: service.worker.rows_inside == 4)
            drain = asyncio.create_task(service.drain())
            await until(lambda: service.worker.draining)
            assert (await client.get("/health/ready")).status_code == 503
            assert (await client.get("/health/live")).status_code == 200
            refused = await client.post("/energy", content=png(), headers=PNG_HEADERS)
            assert refused.json()["type"] == "/problems/shutting-down"
            long.cancel()
            await drain

    play(story())


def test_a_damaged_bundle_is_skipped_and_listed(tmp_path: Path, settings: Settings) -> None:
    save(make_bundle("good", "jem", tiny_model("jem")), tmp_path / "good")
    save(make_bundle("bad", "jem", tiny_model("jem")), tmp_path / "bad")
    (tmp_path / "bad" / "weights.safetensors").write_bytes(b"damaged")

    async def story() -> None:
        async with running(settings.model_copy(update={"bundles": (str(tmp_path),)})) as client:
            ready = (await client.get("/health/ready")).json()
            assert [label.partition("@")[0] for label in ready["models"]] == ["good"]
            assert "weights.safetensors" in ready["failed"][0]["reason"]
            assert (await client.get("/models")).json()["models"][0]["default"]
            refused = await client.post("/sample", json={"model": "bad"})
            assert refused.status_code == 404
            assert "could not be loaded" in refused.json()["detail"]
            assert ready["failed"][0]["reason"] in refused.json()["detail"]

    play(story())


def test_a_default_screen_that_failed_to_load_is_not_replaced(
    tmp_path: Path, settings: Settings
) -> None:
    save(make_bundle("good", "jem", tiny_model("jem")), tmp_path / "good")
    save(make_bundle("guard", "jem", tiny_model("jem")), tmp_path / "guard")
    (tmp_path / "guard" / "weights.safetensors").write_bytes(b"damaged")
    x = {"instances": np.full((1, *tiny_model("jem").event_shape), 0.5).tolist()}

    async def story(name: str) -> None:
        changes = {"bundles": (str(tmp_path),), "default_model": "good", "default_screen": name}
        async with running(settings.model_copy(update=changes)) as client:
            screen = (await client.get("/health/ready")).json()["default_screen"]
            answer = await client.post("/ood_score", json=x)
            if name == "guard":
                assert screen is None
                assert answer.status_code == 404
                assert "'guard' could not be loaded" in answer.json()["detail"]
            else:
                assert screen.startswith("good@")
                assert answer.json()["model"] == screen

    play(story("guard"))
    play(story("nowhere"))


def test_with_no_bundle_at_all_it_is_never_ready(tmp_path: Path, settings: Settings) -> None:
    async def story() -> None:
        app = create_app(settings.model_copy(update={"bundles": (str(tmp_path),)}))
        async with app.router.lifespan_context(app):
            service: Service = app.state.service
            await until(lambda: service.loading.done())  # type: ignore[union-attr]
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
                response = await client.get("/health/ready")
            assert response.status_code == 503
            assert "holds no bundle" in response.json()["detail"]

    play(story())
