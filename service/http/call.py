"""One request on its way through the service: reading, running jobs, waiting, replying."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import num_rows
from service.catalog.description import ModelDescription
from service.engine.client import Show
from service.engine.messages import Answer, Planned, Previews
from service.errors import InvalidRequest, ServiceError
from service.http import inputs
from service.http.accept import preferred
from service.http.body import Body, read
from service.http.context import exchange_of
from service.http.endpoint import Endpoint, Needs
from service.http.inputs import Uploads
from service.http.job import Job
from service.http.params import class_index, params_from
from service.http.waiting import until_done
from service.schema.requests import Fields
from service.service import Service

F = TypeVar("F", bound=Fields)


@dataclass
class Call(Generic[F]):
    """A request whose fields are valid, about a model that is loaded."""

    request: Request
    service: Service
    fields: F
    model: ModelDescription
    uploads: Uploads | None
    media_type: str
    """The form of the answer."""
    body: Body = field(default_factory=Body)
    """As it came, to be read for another model too."""

    num_submitted: int = 0
    """Rows that it has asked of the worker."""

    @property
    def events(self) -> Uploads:
        """What it brings, of an endpoint that needs something."""
        assert self.uploads is not None
        return self.uploads

    def job(
        self,
        name: str,
        *,
        params: Mapping[str, Any] | None = None,
        label: int | str | None = None,
        seed: int = 0,
    ) -> Job:
        """By the wishes of the request, about what it brings.

        Raises UnsupportedOperation or InvalidRequest.
        """
        operation = self.model.operation(name)
        resolved = params_from(operation, params or {})
        index = class_index(label, self.model, operation)
        return Job.of(self.model, operation, self.uploads, params=resolved, label=index, seed=seed)

    async def plan(self, job: Job) -> Planned:
        """What is known of a job before it begins."""
        return await self.service.engine.plan(job.operation.lane, job.params)

    async def submit(
        self, job: Job, previews: Previews | None = None, show: Show | None = None
    ) -> Future[Answer]:
        """Hand a job to the worker. Raises InvalidRequest, TooManyRows or Overloaded."""
        lane, num = job.operation.lane, num_rows(job.rows)
        shares = self.service.shares
        client = self.request.client.host if self.request.client else ""
        shares.check(client, num, self.num_submitted)
        answer = await self.service.engine.submit(lane, job.rows, job.params, previews, show)
        shares.hold(client, num, answer)
        self.num_submitted += num
        return answer

    async def wait(self, *futures: Future[Answer]) -> list[Answer]:
        """The answers; a hang-up or the deadline cancels the work."""
        answers = await until_done(futures, self.request, self.service.settings.timeout_s)
        exchange_of(self.request.scope).queue_s = max(answer.queue_s for answer in answers)
        return answers

    async def run(self, *jobs: Job) -> list[Answer]:
        """Submit and wait. If one job is refused, none is done."""
        futures: list[Future[Answer]] = []
        try:
            for job in jobs:
                futures.append(await self.submit(job))
        except ServiceError:
            for future in futures:
                future.cancel()
            raise
        return await self.wait(*futures)

    def results(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With each result, what was changed of its event."""
        converted = self.uploads.converted if self.uploads else []
        for result, notes in zip(results, converted, strict=True):
            result["converted"] = notes
        return results

    def reply(self, answers: Sequence[Answer], **members: Any) -> Response:
        """The JSON envelope."""
        timing = _timing_ms(answers)
        content = {"model": self.model.label, **members, "timing_ms": timing}
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


async def receive(request: Request, endpoint: Endpoint[F]) -> Call[F]:
    """Read, validate and decode a request. Raises whatever is wrong with it."""
    service: Service = request.app.state.service
    media_type = preferred(request, endpoint.offered)
    catalog = service.catalog
    body = await read(request, endpoint.accepted, service.settings)
    fields = body.parse(endpoint.request)
    model = endpoint.find(catalog, fields.model)
    exchange_of(request.scope).model = model.label
    bring = inputs.latents if endpoint.needs is Needs.LATENTS else inputs.events
    uploads = await bring(body, model, service.decoder, service.settings.max_images)
    if uploads is None and endpoint.needs is not Needs.PERHAPS_EVENTS:
        raise InvalidRequest(endpoint.needs.value)
    return Call(request, service, fields, model, uploads, media_type, body)


def _timing_ms(answers: Sequence[Answer]) -> dict[str, float]:
    return {
        "queue": round(1000 * max(answer.queue_s for answer in answers), 3),
        "compute": round(1000 * max(answer.compute_s for answer in answers), 3),
    }
