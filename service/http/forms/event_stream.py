"""Answers as server-sent events: how far the work is, with a picture of it, then the result."""

import asyncio
import base64
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.responses import Response

from service.engine.messages import Answer, Preview, Previews
from service.errors import ClientGone, ServiceError
from service.http.body import JSON
from service.http.call import Call
from service.http.context import exchange_of
from service.media.encode import png, tiled

EVENTS = "text/event-stream"
NUM_LOOKS = 32
"""About how many events there are if a request does not say."""
MAX_IMAGES = 64
"""A picture of progress shows no more than the first images."""
_MAX_UNREAD, _PING_S = 2 * NUM_LOOKS, 15.0
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""Proxies must neither keep nor gather what is news now."""


class Progress:
    """From the worker's thread to the response: a slow reader misses looks, never the result."""

    def __init__(self, num_rows: int, num_steps: int, every: int | None, num_images: int) -> None:
        """The rows hold `num_images` images, of which several may be in one row."""
        self.num_rows, self.num_steps, self.num_images = num_rows, num_steps, num_images
        self.previews = Previews(every or max(1, num_steps // NUM_LOOKS), num_images=MAX_IMAGES)
        self.news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._unread: deque[Preview] = deque(maxlen=_MAX_UNREAD)
        self._steps_done: dict[int, tuple[int, int]] = {}
        self._canvas: np.ndarray | None = None

    def show(self, preview: Preview) -> None:
        """Keep a preview until it is read, on the worker's thread."""
        self._unread.append(preview)
        self._loop.call_soon_threadsafe(self.news.set)

    def read(self) -> list[dict[str, Any]]:
        """The data of the events since the last call; draws pictures, so not on the loop."""
        news = []
        while self._unread:
            look = self._unread.popleft()
            self._steps_done[look.first_row] = (look.num_rows, look.steps_done)
            row_steps = sum(rows * steps for rows, steps in self._steps_done.values())
            news.append(
                {
                    "step": row_steps // self.num_rows,
                    "of": self.num_steps,
                    "preview": self._picture(look),
                }
            )
        return news

    def _picture(self, look: Preview) -> str | None:
        """A PNG of the first images as they were last seen; vectors have none."""
        if look.pixels is None:
            return None
        if self._canvas is None:
            shape = (min(self.num_rows, MAX_IMAGES), *look.pixels.shape[1:])
            self._canvas = np.zeros(shape, np.uint8)
        self._canvas[look.first_row : look.first_row + len(look.pixels)] = look.pixels
        images = self._canvas.reshape(-1, *look.pixels.shape[-3:])
        shown = images[: min(self.num_images, MAX_IMAGES)]
        return base64.b64encode(png(tiled(shown))).decode()


def reply(
    call: Call[Any],
    answer: Future[Answer],
    progress: Progress,
    finish: Callable[[Call[Any], list[Answer]], Response],
) -> Response:
    """Events `progress`, then `result` with the JSON that `finish` writes, or `problem`.

    A client that closes the connection frees its rows.
    """
    work = asyncio.create_task(call.wait(answer))
    work.add_done_callback(_look_at)
    work.add_done_callback(lambda _: progress.news.set())
    return EventSourceResponse(_events(call, work, progress, finish), headers=_HEADERS)


async def _events(
    call: Call[Any],
    work: "asyncio.Task[list[Answer]]",
    progress: Progress,
    finish: Callable[[Call[Any], list[Answer]], Response],
) -> AsyncIterator[bytes]:
    try:
        done = False
        while not done:
            try:
                await asyncio.wait_for(progress.news.wait(), _PING_S)
            except TimeoutError:
                yield KEEPALIVE_COMMENT
                continue
            progress.news.clear()
            done = work.done()  # asked before reading, so that nothing is left unread
            for data in await asyncio.to_thread(progress.read):
                yield format_sse_event(event="progress", data_str=json.dumps(data))
        answer = await asyncio.to_thread(finish, replace(call, media_type=JSON), work.result())
        yield format_sse_event(event="result", data_str=bytes(answer.body).decode())
    except ClientGone:
        return
    except ServiceError as error:
        yield _problem(call, error)
    except Exception:
        yield _problem(call, ServiceError("an error of the service; the log holds it"))
        raise
    finally:
        work.cancel()


def _problem(call: Call[Any], error: ServiceError) -> bytes:
    document = error.document(exchange_of(call.request.scope).request_id)
    return format_sse_event(event="problem", data_str=json.dumps(document))


def _look_at(work: "asyncio.Task[list[Answer]]") -> None:
    """Fetch an error that nobody may be left to read, or asyncio would complain."""
    if not work.cancelled():
        work.exception()
