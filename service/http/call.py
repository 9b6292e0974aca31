"""One request on its way through the service: what it asked, submitting, waiting, replying."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import Rows
from service.catalog.catalog import Served, Store
from service.engine.ticket import Answer, Viewer
from service.errors import InvalidRequest
from service.http import inputs
from service.http.accept import preferred
from service.http.body import JSON, MULTIPART, NPY, PICTURES, Body, read
from service.http.context import exchange_of
from service.http.inputs import Uploads
from service.http.params import class_index, operation_params
from service.http.waiting import until_done
from service.media.decode import Decoder
from service.schema.requests import Request as Fields
from service.service import Service

UPLOADS = (*PICTURES, MULTIPART, JSON, NPY)
F = TypeVar("F", bound=Fields)
Bring = Callable[[Body, Served, Decoder, int], Awaitable[Uploads | None]]
"""Reads the events or the latents of a body."""


@dataclass
class Call(Generic[F]):
    """A request whose fields are valid, about a model that is loaded."""

    request: Request
    service: Service
    fields: F
    served: Served
    uploads: Uploads | None
    media_type: str
    """The form of the answer."""
    body: Body = field(default_factory=Body)
    """As it came, to be read for another model too."""

    def submit(
        self,
        operation_name: str,
        *,
        params: Mapping[str, Any] | None = None,
        label: int | str | None = None,
        seed: int = 0,
        num: int | None = None,
        viewer: Viewer | None = None,
    ) -> Future[Answer]:
        """Hand the work to the worker. Raises if the operation cannot do it, or Overloaded."""
        operation = self.served.operation(operation_name)
        checked = operation_params(operation, params or {})
        index = class_index(label, self.served, operation)
        num = num or (self.uploads.num if self.uploads else 1)
        rows = inputs.rows(self.served, operation, seed, num, self.uploads, index)
        return self.hand_in(operation_name, rows, checked, viewer)

    def hand_in(
        self, operation_name: str, rows: Rows, params: Any, viewer: Viewer | None = None
    ) -> Future[Answer]:
        """The same for rows and params that are ready."""
        try:
            self.served.operation(operation_name).check(rows, params)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        lane = self.served.lane(operation_name)
        return self.service.worker.submit(lane, rows, params, viewer)

    async def wait(self, *futures: Future[Answer]) -> list[Answer]:
        """The answers; a hang-up or the deadline cancels the work."""
        answers = await until_done(futures, self.request, self.service.settings.timeout_s)
        exchange_of(self.request.scope).queue_s = max(answer.queue_s for answer in answers)
        return answers

    def results(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With each result, what was changed of its event."""
        converted = self.uploads.converted if self.uploads else []
        for result, notes in zip(results, converted, strict=True):
            result["converted"] = notes
        return results

    def reply(self, answers: Sequence[Answer], **members: Any) -> Response:
        """The JSON envelope."""
        timing = _timing_ms(answers)
        content = {"model": self.served.label, **members, "timing_ms": timing}
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        return self.reply_bytes(answers, text.encode())

    def reply_bytes(
        self, answers: Sequence[Answer], content: bytes, headers: Mapping[str, str] | None = None
    ) -> Response:
        """An answer in the negotiated form, with timing in its headers."""
        timing = _timing_ms(answers)
        return Response(
            content,
            media_type=self.media_type,
            headers={
                "X-Queue-Ms": f"{timing['queue']:.3f}",
                "X-Compute-Ms": f"{timing['compute']:.3f}",
                **(headers or {}),
            },
        )


async def receive(
    request: Request,
    schema: type[F],
    accepted: Sequence[str] = UPLOADS,
    offers: Sequence[str] = (JSON,),
    bring: Bring = inputs.events,
    required: str = "no image and no array: accepted are images, files or instances",
    find: Callable[[Store, str | None], Served] = Store.find,
) -> Call[F]:
    """Read, validate and decode a request. Raises whatever is wrong with it.

    `required` is what to say if it brings nothing; empty if it need not. `find` looks up the
    model.
    """
    service: Service = request.app.state.service
    media_type = preferred(request, offers)
    store = service.store
    body = await read(request, accepted, service.settings)
    fields = body.parse(schema)
    served = find(store, fields.model)
    exchange_of(request.scope).model = served.label
    uploads = await bring(body, served, service.decoder, service.settings.max_images)
    if required and uploads is None:
        raise InvalidRequest(required)
    return Call(request, service, fields, served, uploads, media_type, body)


def _timing_ms(answers: Sequence[Answer]) -> dict[str, float]:
    return {
        "queue": round(1000 * max(answer.queue_s for answer in answers), 3),
        "compute": round(1000 * max(answer.compute_s for answer in answers), 3),
    }
