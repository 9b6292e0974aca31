"""Animations: which frames there are, in every format, within limits, and gone with the client."""

import asyncio
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from models.core.contract.grid import quantise
from service.engine.messages import Preview, pixels_of
from service.errors import Overloaded, TooManyRows
from service.http.forms.animation import HOLD_MS, MAX_FRAMES, Film
from service.media.encode import tiled
from service.media.frame_room import FrameRoom
from service.settings import Settings
from tests.support.service.apps import LONG, Client, play, running, service_of, until
from tests.support.service.models import inputs, states
from tests.support.service.problems import problem_of
from tests.support.service.reference import JEM
from tests.support.service.streaming import raw_post

FORMS = ("image/gif", "image/webp", "image/apng")
FEW = {"num_samples": 3, "seed": 7, "params": {"num_steps": 8, "start": "noise"}}


def frames(response: httpx.Response) -> tuple[list[np.ndarray], list[float]]:
    """Grey pictures and how long each is shown, in ms, of an endless animation."""
    assert response.status_code == 200, response.text
    file = Image.open(io.BytesIO(response.content))
    pictures, durations = [], []
    for i in range(getattr(file, "n_frames", 1)):
        file.seek(i)
        # WebP tells the duration of a frame once its pixels are there.
        pictures.append(np.asarray(file.convert("L")))
        durations.append(float(file.info["duration"]))
    assert len(pictures) == 1 or file.info["loop"] == 0
    return pictures, durations


def made(num: int, seed: int, **params: Any) -> list[np.ndarray]:
    """Grids of what the reference model makes, after each step."""
    operation: Any = JEM.operations()["sample"]
    columns = inputs(num, seed=seed, label=torch.full((num,), -1))
    found = states(operation, columns, operation.params(**params))
    return [tiled(quantise(x).numpy())[0] for x in found]


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_the_samples_after_so_many_steps(client: Client, form: str) -> None:
    body = {**FEW, "progress_every": 3, "frame_ms": 50}
    response = client.post("/sample", json=body, headers={"accept": form})
    assert response.headers["content-type"] == form
    assert response.headers["x-seed"] == "7"
    assert response.headers["x-model"].startswith("jem@")
    pictures, durations = frames(response)
    assert durations == [50, 50, HOLD_MS]
    steps = made(3, 7, num_steps=8, start="noise")
    for shown, expected in zip(pictures, (steps[2], steps[5], steps[7]), strict=True):
        assert np.abs(shown.astype(int) - expected).max() <= 1
    png = client.post("/sample", json=FEW, headers={"accept": "image/png"})
    assert np.array_equal(pictures[-1], np.asarray(Image.open(io.BytesIO(png.content))))


def test_there_are_about_32_frames_of_a_tenth_of_a_second(client: Client) -> None:
    body = {"params": {"num_steps": 100, "noise_scale": 0.3}, "seed": 1}
    pictures, durations = frames(
        client.post("/sample", json=body, headers={"accept": "image/webp"})
    )
    assert len(pictures) == 25
    assert set(durations[:-1]) == {100.0}


def test_the_rows_of_a_split_request_are_in_one_picture(client: Client) -> None:
    body = {"num_samples": 20, "seed": 1, "params": {"num_steps": 3, "start": "noise"}}
    url = "/sample?progress_every=1"
    pictures, _ = frames(client.post(url, json=body, headers={"accept": "image/apng"}))
    for shown, expected in zip(pictures, made(20, 1, num_steps=3, start="noise"), strict=True):
        assert np.abs(shown.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("form", FORMS)
def test_one_step_is_one_frame(flows_client: Client, form: str) -> None:
    body = {"seed": 1, "num_samples": 2}
    png = flows_client.post("/sample", json=body, headers={"accept": "image/png"})
    response = flows_client.post("/sample", json=body, headers={"accept": form})
    assert response.status_code == 200
    shown = np.asarray(Image.open(io.BytesIO(response.content)).convert("L"))
    assert np.array_equal(shown, np.asarray(Image.open(io.BytesIO(png.content))))


def test_latents_are_decoded_before_the_eyes(flows_client: Client) -> None:
    body = {"latents": np.zeros((2, 16)).tolist()}
    pictures, _ = frames(flows_client.post("/decode", json=body, headers={"accept": "image/gif"}))
    assert pictures[0].shape == (4, 10)


def preview(x: torch.Tensor | None, num: int, steps_done: int, first_row: int = 0) -> Preview:
    pixels = pixels_of(x, first_row, None)
    return Preview(0, first_row, num, steps_done, pixels)


def tiles(*greys: float) -> torch.Tensor:
    """One picture of each grey."""
    return torch.tensor(greys).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_a_frame_has_all_rows_after_the_same_number_of_steps() -> None:
    film = Film(4, None)
    assert (film.previews.every, film.num_frames) == (1, 4)
    for step in (1, 2, 3):
        film.show(preview(tiles(step / 255), 1, step))
    film.show(preview(tiles(11 / 255, torch.nan), 2, 1, first_row=1))
    last = quantise(tiles(9 / 255, 19 / 255, 29 / 255)).numpy()
    expected = [(1, 11, 0), (2, 19, 29), (3, 19, 29), (9, 19, 29)]
    for frame, greys in zip(film.frames(last), expected, strict=True):
        assert np.array_equal(frame, tiled(quantise(tiles(*greys) / 255).numpy()))


def test_a_film_without_a_look_is_its_last_frame() -> None:
    film = Film(4, None)
    film.show(preview(None, 1, 1))
    last = quantise(tiles(0.5)).numpy()
    (only,) = film.frames(last)
    assert np.array_equal(only, last[0])


@pytest.mark.parametrize(("ended", "every"), [(40, 1), (70, 2), (784, 16)])
def test_looks_at_work_that_may_end_early_are_thinned_out(ended: int, every: int) -> None:
    film = Film(6272, None, stops_early=True)
    for step in range(1, ended):
        if film.previews.due(step):
            film.show(preview(tiles(step / 1000), 1, step))
    found = list(film.frames(quantise(tiles(1.0)).numpy()))
    assert 32 < len(found) <= film.num_frames == 65
    shown = [quantise(tiles(step / 1000)).numpy()[0] for step in range(every, ended, every)]
    assert all(np.array_equal(a, b) for a, b in zip(found[:-1], shown, strict=True))


@pytest.mark.parametrize(
    ("num_steps", "every", "num_frames"),
    [(1, None, 1), (32, None, 32), (33, None, 17), (1000, None, 32), (256, 1, 256), (9, 4, 3)],
)
def test_how_many_frames_there_are(num_steps: int, every: int | None, num_frames: int) -> None:
    film = Film(num_steps, every)
    assert film.num_frames == num_frames
    assert len([step for step in range(1, num_steps) if film.previews.due(step)]) == num_frames - 1


def test_no_more_frames_than_a_reader_can_bear(client: Client) -> None:
    with pytest.raises(TooManyRows, match=r"257 frames.*at most 256.*progress_every 2 or more"):
        Film(257, 1)
    with pytest.raises(TooManyRows, match="progress_every 4 or more"):
        Film(1000, 1)
    assert Film(1000, 4).num_frames <= MAX_FRAMES
    body = {"params": {"num_steps": 1000}, "progress_every": 3}
    response = client.post("/sample", json=body, headers={"accept": "image/gif"})
    problem_of(response, 422, "too-many-rows")


def test_no_more_bytes_of_frames_than_the_limit(settings: Settings) -> None:
    async def story() -> None:
        # Two images of 8 x 8 with a gap make 8 x 18 pixels; eight frames of that.
        limits = {"max_animation_bytes": 8 * 8 * 18}
        async with running(settings.model_copy(update=limits)) as client:
            body = {**FEW, "num_samples": 2, "progress_every": 1}
            accept = {"accept": "image/webp"}
            fine = await client.post("/sample", json=body, headers=accept)
            assert len(frames(fine)[0]) == 8
            more = await client.post("/sample", json={**body, "num_samples": 3}, headers=accept)
            says = problem_of(more, 422, "too-many-rows")["detail"]
            assert "accepted are 1152" in says
            assert service_of(client).worker.rows_inside == 0

    play(story())


def test_there_is_room_for_eight_of_the_largest() -> None:
    room = FrameRoom(10)
    with pytest.raises(TooManyRows), room.take(11):
        pass

    def filled(num: int) -> None:
        with room.take(10):
            if num > 1:
                filled(num - 1)
            else:
                with room.take(0):
                    pass
                with pytest.raises(Overloaded), room.take(1):
                    pass

    filled(8)
    filled(8)


def test_what_cannot_be_animated_is_refused(client: Client, flows_client: Client) -> None:
    def ask(where: Client, **body: Any) -> Any:
        return where.post("/sample", json=body, headers={"accept": "image/gif"})

    problem_of(ask(flows_client, model="table"), 406, "not-acceptable")
    for frame_ms in (19, 10_001, "fast", 50.5):
        problem_of(ask(client, frame_ms=frame_ms), 422, "invalid-request")
    problem_of(ask(client, progress_every=0), 422, "invalid-request")
    problem_of(ask(client, params={"start": "data"}), 422, "invalid-request")
    image = {"accept": "image/*"}
    assert client.post("/sample", json={}, headers=image).headers["content-type"] == "image/png"


def test_a_client_that_goes_leaves_room_and_the_others_go_on(settings: Settings) -> None:
    async def story() -> None:
        limits = {"max_animation_bytes": 40_000}
        async with running(settings.model_copy(update=limits)) as client:
            service, gone = service_of(client), asyncio.Event()
            sent: list[dict[str, Any]] = []
            headers = {"accept": "image/gif", "content-type": "application/json"}
            call = asyncio.create_task(
                raw_post(client, "/sample", json.dumps(LONG).encode(), headers, gone, sent)
            )
            await until(lambda: service.worker.rows_inside == 4)
            assert service.frame_room.num_bytes > 0
            other = asyncio.create_task(client.post("/sample", json={**FEW, "format": "arrays"}))
            await until(lambda: service.worker.rows_inside == 7 or other.done())
            gone.set()
            await call
            assert sent[0]["status"] == 499
            assert service.frame_room.num_bytes == 0
            x = np.array((await other).json()["samples"])
            shown = tiled(quantise(torch.from_numpy(x)).numpy())[0]
            expected = made(3, 7, num_steps=8, start="noise")[-1]
            assert np.abs(shown.astype(int) - expected).max() <= 1
            await until(lambda: service.worker.rows_inside == 0)

    play(story())
