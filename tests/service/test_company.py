"""The same seed gives the same samples over HTTP, whoever else is there and whenever it comes."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import family
from service.settings import Settings
from tests.support.models.tiny import random_model
from tests.support.service.apps import AppClient, play, running, service_of, until

SAMPLERS = ("jem", "pixelcnn", "maf", "residual_flow", "vae", "ddpm")
"""Langevin, pixel by pixel, both kinds of inversion, one step, and the samplers of diffusion."""


def bodies() -> Iterator[dict[str, Any]]:
    """A request for every branch of every sampler, each with a seed of its own."""
    seed = 0
    for name in SAMPLERS:
        model = family(name).Model(family(name).Config())
        operation = model.operations()["sample"]
        for params in operation.examples:
            if getattr(params, "start", "") in ("data", "persistent"):
                continue
            for label in (None, 1) if operation.takes_label else (None,):
                if label is None and getattr(params, "guidance_scale", 1.0) != 1.0:
                    continue
                seed += 1
                yield {
                    "model": name,
                    "params": asdict(params),
                    "label": label,
                    "seed": seed,
                    "num_samples": 1 + seed % 3,
                    "format": "arrays",
                }


@pytest.fixture(scope="module")
def shelf(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a service with a tiny model of every kind of sampler."""
    folder: Path = tmp_path_factory.mktemp("samplers")
    for name in SAMPLERS:
        model = random_model(name)
        shape, levels = model.event_shape, model.grid.num_levels if model.grid else 256
        bundle = Bundle(
            name=name,
            family=name,
            config=asdict(family(name).Config()),
            weights=model.state_dict(),
            preprocessing=Preprocessing(*shape[1:], levels=levels) if len(shape) == 3 else None,
        )
        save(bundle, folder / name)
    update = {"bundles": (str(folder),), "default_model": "jem", "max_rows": 8}
    return settings.model_copy(update=update)


def test_a_sample_depends_on_its_own_request_only(shelf: Settings) -> None:
    asked = list(bodies())
    assert len({body["params"].get("sampler") for body in asked}) == 6
    order = np.random.default_rng(0).permutation(len(asked))

    async def drawn(client: AppClient, body: dict[str, Any]) -> np.ndarray:
        response = await client.post("/sample", json=body)
        assert response.status_code == 200, response.text
        return np.array(response.json()["samples"])

    async def story() -> None:
        async with running(shelf) as client:
            alone = [await drawn(client, body) for body in asked]
            worker = service_of(client).worker
            endless = {"params": {"num_steps": 10_000}, "num_samples": 3}
            long = asyncio.create_task(client.post("/sample", json=endless))
            await until(lambda: worker.rows_inside == 3)
            jobs = {}
            for num_steps, i in enumerate(order):
                jobs[i] = asyncio.create_task(drawn(client, asked[i]))
                for _ in range(num_steps % 5):
                    # Another request's way through the engine, so that all join at other times.
                    await drawn(client, {"params": {"num_steps": 1}, "format": "arrays"})
            for i, expected in enumerate(alone):
                np.testing.assert_allclose(
                    await jobs[i], expected, atol=1e-4, err_msg=f"{asked[i]}"
                )
            assert not long.done()
            long.cancel()
            await until(lambda: worker.rows_inside == 0)

    play(story())
