"""Server-sent events as a client reads them, and a client that hangs up when it is told."""

import asyncio
import base64
import io
import json
from collections.abc import MutableMapping
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.support.service.apps import AppClient

ACCEPT_EVENTS = {"accept": "text/event-stream"}


def events_in(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of every event of a stream."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
    return parsed(response.content)


def parsed(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The same of its bytes; comments are left out."""
    found = []
    for block in content.decode().removesuffix("\n\n").split("\n\n"):
        if block.startswith(":") or not block:
            continue
        event, data = block.split("\n")
        found.append((event.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def picture(text: str) -> np.ndarray:
    """A PNG in base64. -> uint8 (H, W) or (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


async def raw_post(
    client: AppClient,
    url: str,
    body: bytes | None,
    headers: dict[str, str],
    gone: asyncio.Event,
    sent: list[dict[str, Any]],
) -> None:
    """POST as an ASGI server would, with a client that hangs up once `gone` is set.

    None is a body that does not arrive.
    """
    messages = [] if body is None else [{"type": "http.request", "body": body}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    path, _, query = url.partition("?")
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
    }
    await client.app(scope, receive, send)
