"""HTTP bodies: in which of the accepted forms a request came."""

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from service.errors import (
    MAX_ERRORS,
    BodyTimeout,
    InvalidImage,
    InvalidRequest,
    MalformedBody,
    TooManyRows,
    UnsupportedMediaType,
)
from service.http.coding import decoded
from service.http.multipart import read_form
from service.schema.requests import Fields
from service.settings import Settings

NPY, JSON, MULTIPART = "application/x-npy", "application/json", "multipart/form-data"
STREAM = "application/x-likely"
PICTURES = (
    "image/png",
    "image/jpeg",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "application/octet-stream",
)
_ALIASES = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
    "image/x-bmp": "image/bmp",
    "image/x-windows-bmp": "image/bmp",
    "image/tif": "image/tiff",
}
"""What browsers and old clients call them."""
_BOM = b"\xef\xbb\xbf"
F = TypeVar("F", bound=Fields)
_LARGE_BYTES = 2**20
"""Bodies beyond this are parsed in a thread."""


@dataclass
class Body:
    """A request before validation: what it says and what it brings."""

    json: dict[str, Any] | None = None
    """Fields that have types."""
    text: dict[str, Any] = field(default_factory=dict)
    """Fields of the query and of forms."""
    images: list[bytes] = field(default_factory=list)
    lists: list[Any] | None = None
    npy: bytes | None = None
    stream: bytes | None = None
    max_images: int = 2**10

    def parse(self, schema: type[F]) -> F:
        """The fields, validated. Text fields that the schema does not name are params."""
        accepted = f"accepted are {', '.join(schema.model_fields)}"
        known = {n: v for n, v in self.text.items() if n in schema.model_fields and n != "params"}
        rest = {n: v for n, v in self.text.items() if n not in known}
        if rest and "params" in schema.model_fields:
            known["params"], rest = rest, {}
        # Apart from the rest of the validation, which would list every one of a million.
        if unknown := [
            name for name in (*rest, *(self.json or ())) if name not in schema.model_fields
        ]:
            raise _unknown(unknown, accepted)
        try:
            request = schema.model_validate(known)
            if self.json is not None:
                text = request.model_dump(exclude_unset=True)
                if other := [n for n in text if not _agree(text[n], self.json.get(n, text[n]))]:
                    raise InvalidRequest(
                        f"{', '.join(sorted(other))}: in the query and the body, and not the same"
                    )
                request = schema.model_validate({**text, **self.json}, strict=True)
        except ValidationError as error:
            raise invalid(error, accepted) from error
        if request.pictures is not None:
            if len(request.pictures) > self.max_images:
                raise too_many(len(request.pictures), "images", self.max_images)
            self.images = [_from_base64(text, i) for i, text in enumerate(request.pictures)]
        self.lists = request.lists
        if bool(self.images) + (self.lists is not None) + (self.npy is not None) > 1:
            raise InvalidRequest("two kinds of input: accepted are images or one array, not both")
        return request


def _agree(text: Any, value: Any) -> bool:
    """Whether the query says what the body says; of params it may say a part, as text."""
    if isinstance(text, dict) and isinstance(value, dict):
        return all(name in value and _agree(part, value[name]) for name, part in text.items())
    return bool(text == value or text == str(value))


def _unknown(names: Sequence[str], accepted: str) -> InvalidRequest:
    """Fields that the schema does not have."""
    errors = [
        {"field": shown(name), "detail": "Extra inputs are not permitted"}
        for name in names[:MAX_ERRORS]
    ]
    text = "; ".join(f"{e['field']}: {e['detail']}" for e in errors[:5])
    return InvalidRequest(f"{text} ({accepted})", errors, len(names))


def too_many(num: int, what: str, limit: int) -> TooManyRows:
    """More images or arrays than one request may bring."""
    return TooManyRows(f"{num} {what}: accepted are at most {limit}")


def shown(text: str, length: int = 80) -> str:
    """What a client sent, at no more length than it takes to recognise it."""
    return text if len(text) <= length else f"{text[:length]}..."


def invalid(error: ValidationError, accepted: str) -> InvalidRequest:
    """A validation error of pydantic in our form."""
    errors = [
        {"field": shown(".".join(str(part) for part in e["loc"])) or "body", "detail": e["msg"]}
        for e in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    text = "; ".join(f"{e['field']}: {e['detail']}" for e in errors[:5])
    return InvalidRequest(f"{text} ({accepted})", errors)


async def read(request: Request, accepted: Sequence[str], settings: Settings) -> Body:
    """The body in whichever of the accepted forms, and the query's fields with it.

    Raises UnsupportedMediaType, MalformedBody, PayloadTooLarge or BodyTimeout.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    kind = _ALIASES.get(kind, kind)
    if kind not in accepted:
        raise UnsupportedMediaType(
            f"content type {shown(kind) or 'missing'!r}: accepted are {', '.join(accepted)}"
        )
    coding = request.headers.get("content-encoding", "")
    chunks = decoded(request.stream(), coding, settings.max_body_bytes)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            if kind == MULTIPART:
                files, text = await read_form(request.headers, chunks, settings.max_images)
                body, data = Body(text={**text}, images=files), b""
            else:
                body, data = None, b"".join([chunk async for chunk in chunks])
    except TimeoutError as error:
        raise BodyTimeout(f"accepted are {settings.body_timeout_s:g} s for the body") from error
    if body is None:
        if not data:
            raise MalformedBody(f"the body is empty: accepted is {kind}")
        body = await _json(data) if kind == JSON else Body()
        if kind == NPY:
            body.npy = data
        elif kind == STREAM:
            body.stream = data
        elif kind != JSON:
            body.images = [data]
    body.max_images = settings.max_images
    for name, value in request.query_params.multi_items():
        if body.text.get(name, value) != value:
            raise InvalidRequest(f"{shown(name)} is given twice")
        body.text[name] = value
    return body


async def _json(data: bytes) -> Body:
    parse = partial(from_json, data.removeprefix(_BOM), allow_inf_nan=False)
    try:
        fields = parse() if len(data) < _LARGE_BYTES else await asyncio.to_thread(parse)
    except ValueError as error:
        raise MalformedBody(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise MalformedBody("the JSON body is not an object")
    return Body(json=fields)


def _from_base64(text: str, index: int) -> bytes:
    """Plain base64 or a data: URL. Raises InvalidImage."""
    head, comma, tail = text.partition(",")
    if text.startswith("data:"):
        if not comma or not head.endswith(";base64"):
            raise InvalidImage("accepted are data: URLs in base64", index)
        text = tail
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(f"not base64: {error}", index) from error
