"""What a replay sends and gets, and how its requests are put together."""

import base64
import io
import json
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DOCS = Path(__file__).parents[1] / "docs"
JSON, NPY, STREAM = "application/json", "application/x-npy", "application/x-likely"
FORMS = (
    "image/png",
    "application/zip",
    "application/x-npz",
    "text/event-stream",
    "image/gif",
    "image/webp",
    "image/apng",
)
"""Of samples, beside JSON."""
_BOUNDARY = "replay-boundary"


@dataclass(frozen=True)
class Request:
    """What is sent, byte for byte; `name` says what it is about."""

    name: str
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came back, but for what differs from run to run."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Exchanges = Generator[Request, Answer, None]
"""Asks, and is sent the answer."""


def each(requests: Iterable[Request]) -> Exchanges:
    """One after the other, whatever is answered."""
    for request in requests:
        _ = yield request  # an iterable itself could not be sent the answers


def get(path: str, method: str = "GET", **headers: str) -> Request:
    """A request without a body."""
    return Request(f"{method.lower()} {path}", method, path, _marked(headers))


def post(name: str, path: str, kind: str, body: bytes, accept: str = "") -> Request:
    """A body of one media type; `name` is also the id that the answer has to carry."""
    headers = {"Content-Type": kind} if kind else {}
    return Request(name, "POST", path, _marked({**headers, **_accept(accept)}, name), body)


def ask(name: str, path: str, accept: str = "", **fields: Any) -> Request:
    """A JSON body."""
    return post(name, path, JSON, json.dumps(fields).encode(), accept)


def form(name: str, path: str, files: list[bytes], accept: str = "", **fields: str) -> Request:
    """A multipart body of files and text fields."""
    parts = [
        f'Content-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode()
        for key, value in fields.items()
    ]
    disposition = b'Content-Disposition: form-data; name="files"; filename="f"\r\n'
    parts += [disposition + b"Content-Type: image/png\r\n\r\n" + data for data in files]
    lines = b"".join(b"--%s\r\n%s\r\n" % (_BOUNDARY.encode(), part) for part in parts)
    body = lines + f"--{_BOUNDARY}--\r\n".encode()
    return post(name, path, f"multipart/form-data; boundary={_BOUNDARY}", body, accept)


def pixels(num: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Pictures with flat and noisy places, of which some pixels are black. uint8 (num, *shape)."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (num, *shape))
    ramp = np.linspace(0, 255, shape[-1]) * random.random((num, *(1 for _ in shape)))
    return np.where(noise < 160, ramp, noise).round().astype(np.uint8)


def picture(image: np.ndarray, kind: str = "PNG", **settings: Any) -> bytes:
    """A file of uint8 (C, H, W)."""
    flat = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    return saved(Image.fromarray(np.ascontiguousarray(flat)), kind, **settings)


def saved(image: Image.Image, kind: str = "PNG", **settings: Any) -> bytes:
    """A file of a picture."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """A file of an array."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def text(data: bytes) -> str:
    """In base64."""
    return base64.b64encode(data).decode()


def _marked(headers: dict[str, str], name: str = "get") -> dict[str, str]:
    """With an id, so that the service need not draw one."""
    sane = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
    return {**headers, "X-Request-Id": f"replay-{sane}"[:128]}


def _accept(accept: str) -> dict[str, str]:
    return {"Accept": accept} if accept else {}
