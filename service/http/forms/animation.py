"""Animations: events while they are made, a frame every so many steps, as one file."""

import asyncio
from collections.abc import Iterator
from math import ceil, prod
from typing import TypeVar

import numpy as np
from starlette.responses import Response

from models.core.contract.rows import num_rows
from service.engine.messages import Answer, Planned, Preview, Previews
from service.errors import TooManyRows
from service.http.call import Call
from service.http.forms import samples
from service.http.forms.event_stream import NUM_LOOKS
from service.http.forms.samples import ANIMATIONS
from service.http.job import Job
from service.media.encode import animated, tiled, tiled_shape
from service.schema.requests import MakeRequest

M = TypeVar("M", bound=MakeRequest)
MAX_FRAMES = 256
HOLD_MS = 2000
"""How long the last frame is shown, where the others are not shown for longer."""


class Film:
    """Keeps previews; every frame has all rows after the same number of steps."""

    def __init__(self, num_steps: int, every: int | None, stops_early: bool = False) -> None:
        """Raises TooManyRows if there would be too many frames.

        How long work that may stop early takes, nobody knows: previews of every step are thinned
        out as they become too many.
        """
        first = every or (1 if stops_early else ceil(num_steps / NUM_LOOKS))
        max_looks = 2 * NUM_LOOKS if every is None else MAX_FRAMES - 1
        num_looks = (num_steps - 1) // first
        if every is not None and num_looks > max_looks:
            raise TooManyRows(
                f"{num_looks + 1} frames: accepted are at most {MAX_FRAMES}, with progress_every "
                f"{ceil(num_steps / MAX_FRAMES)} or more"
            )
        self.previews = Previews(first, at_most=max_looks)
        self.num_frames = 1 + min(num_looks, max_looks)
        """At most."""
        self._every, self._max_looks = first, max_looks
        self._looks: dict[int, list[tuple[int, np.ndarray]]] = {}

    def show(self, preview: Preview) -> None:
        """Keep a preview; every second one goes where they would become too many."""
        if preview.pixels is None or preview.steps_done % self._every:
            return
        looks = self._looks.setdefault(preview.steps_done, [])
        looks.append((preview.first_row, preview.pixels))
        if len(self._looks) > self._max_looks:
            self._every *= 2
            self._looks = {n: look for n, look in self._looks.items() if n % self._every == 0}

    def frames(self, last: np.ndarray) -> Iterator[np.ndarray]:
        """Grids; rows that were done early stay as in the last. (B, C, H, W) -> (C, H', W')."""
        for step in sorted(self._looks):
            pixels = last.copy()
            for first_row, part in self._looks[step]:
                pixels[first_row : first_row + len(part)] = part
            yield tiled(pixels)
        yield tiled(last)


async def reply(call: Call[M], job: Job, plan: Planned) -> Response:
    """Submit, wait, and show how the answer's column x came about.

    Raises TooManyRows or Overloaded if there is no room for the frames, and what the work raises.
    """
    film = Film(plan.num_steps, call.fields.progress_every, job.operation.stops_early)
    shape = tiled_shape(num_rows(job.rows), call.model.event_shape)
    with call.service.frame_room.take(film.num_frames * prod(shape)):
        answers = await call.wait(await call.submit(job, film.previews, film.show))
        return await asyncio.to_thread(_animated, call, film, answers, job.seed)


def _animated(call: Call[M], film: Film, answers: list[Answer], seed: int) -> Response:
    frames = list(film.frames(samples.pixels(answers[0].rows["x"])))
    frame_ms = call.fields.frame_ms
    durations_ms = [frame_ms] * (len(frames) - 1) + [max(frame_ms, HOLD_MS)]
    content = animated(frames, ANIMATIONS[call.media_type], durations_ms)
    return call.reply_bytes(answers, content, samples.seed_header(seed))
