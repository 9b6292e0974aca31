"""Lossless compression: images to a stream that says all about itself, and back."""

import asyncio
import base64
import binascii
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from models.core.coding.codec import backend_id
from service.catalog.catalog import Catalog
from service.catalog.description import ModelDescription
from service.engine.messages import Answer
from service.errors import (
    InvalidRequest,
    MalformedBody,
    NotLossless,
    OtherBackend,
    OtherModel,
)
from service.http.accept import preferred
from service.http.body import JSON, NPY, STREAM, Body, read
from service.http.call import Call, receive
from service.http.context import exchange_of
from service.http.endpoint import Endpoint
from service.http.forms import event_stream
from service.http.forms.event_stream import EVENTS, Progress
from service.http.forms.samples import PNG, ZIP
from service.http.job import Job
from service.media import segments
from service.media.encode import npy, png, zipped
from service.media.stream import Stream, unpack
from service.routes.thin import Endpoints
from service.schema.requests import CompressRequest, DecompressRequest
from service.schema.responses import CompressAnswer, DecompressAnswer
from service.service import Service

router = Endpoints()
COMPRESS = Endpoint(
    "/compress", "compression", CompressRequest, CompressAnswer, offered=(STREAM, JSON)
)
DECOMPRESS = Endpoint(
    "/decompress",
    "compression",
    DecompressRequest,
    DecompressAnswer,
    accepted=(STREAM, JSON),
    offered=(PNG, ZIP, NPY, JSON, EVENTS),
)
_LARGE_BYTES = 2**20
"""Streams beyond this are read in a thread."""


@router.answers(COMPRESS)
async def compress(request: Request) -> Response:
    """Images as a stream of bytes, without loss: refused where they would have to be changed."""
    call = await receive(request, COMPRESS)
    operation = call.model.operation("compress")
    for i, notes in enumerate(call.events.converted):
        if notes:
            raise NotLossless(f"{'; '.join(notes)} (accepted are {_accepted(call.model)})", i)
    rows = segments.full_columns(call.events.columns["x"])
    answers = await call.run(Job(operation, operation.default_params, rows))
    return await asyncio.to_thread(_compressed, call, answers, call.events.num)


def _accepted(model: ModelDescription) -> str:
    """What goes in without a change, in words."""
    grid = segments.grid_of(model)
    if (form := model.preprocessing) is None:
        return f"whole numbers from 0 to {grid.top:g}"
    levels = {2: "pixels 0 and 255 only", 256: "8 bits"}.get(
        form.levels, f"the {form.levels} grey levels next to multiples of 255/{form.levels - 1}"
    )
    mode = "L (grey)" if form.channels == 1 else "RGB"
    return f"{form.width}x{form.height} pixels of mode {mode}, {levels}"


def _compressed(call: Call[CompressRequest], answers: list[Answer], num: int) -> Response:
    model = call.model
    stream = Stream(
        model=model.name,
        version=model.version,
        backend=backend_id(),
        event_shape=model.event_shape,
        num_levels=segments.grid_of(model).num_levels,
        num_images=num,
        segments=segments.codes_of(answers[0].rows),
    )
    content, raw_bytes = stream.pack(), segments.raw_bytes(num, model)
    bits_per_dim = round(8 * stream.payload_bytes / (num * model.num_dims), 6)
    if call.media_type == STREAM:
        headers = {
            "X-Num-Images": str(num),
            "X-Bits-Per-Dim": str(bits_per_dim),
            "X-Payload-Bytes": str(stream.payload_bytes),
            "X-Raw-Bytes": str(raw_bytes),
        }
        return call.reply_bytes(answers, content, headers)
    return call.reply(
        answers,
        stream=base64.b64encode(content).decode(),
        num_images=num,
        num_bytes=len(content),
        payload_bytes=stream.payload_bytes,
        raw_bytes=raw_bytes,
        bits_per_dim=bits_per_dim,
    )


@router.answers(DECOMPRESS)
async def decompress(request: Request) -> Response:
    """The images of a stream, by the model that it names: PNG, zip of PNGs, npy or JSON.

    As `text/event-stream` with pictures of the images while they are decoded.
    """
    call, stream = await _receive(request)
    operation, num = call.model.operation("decompress"), stream.num_images
    rows = segments.coded_columns(stream, call.model)
    job = Job(operation, operation.default_params, rows)

    def finish(call: Call[DecompressRequest], answers: list[Answer]) -> Response:
        return _decompressed(call, answers, num)

    if call.media_type != EVENTS:
        return await asyncio.to_thread(finish, call, await call.run(job))
    plan, every = await call.plan(job), call.fields.progress_every
    progress = Progress(len(stream.segments), plan.num_steps, every, num)
    answer = await call.submit(job, progress.previews, progress.show)
    return event_stream.reply(call, answer, progress, finish)


async def _receive(request: Request) -> tuple[Call[DecompressRequest], Stream]:
    """A request whose stream is whole and of a model that is served. Raises what is wrong."""
    service: Service = request.app.state.service
    catalog = service.catalog
    body = await read(request, DECOMPRESS.accepted, service.settings)
    fields = body.parse(DECOMPRESS.request)
    work = partial(_unpack, body, fields, service.settings.max_images)
    large = len(body.stream or fields.stream or "") > _LARGE_BYTES
    stream = await asyncio.to_thread(work) if large else work()
    model = _find(catalog, stream, fields.model)
    exchange_of(request.scope).model = model.label
    if stream.backend != backend_id():
        raise OtherBackend(f"it needs {stream.backend}: accepted is {backend_id()}")
    pictures = {ZIP, PNG} if stream.num_images == 1 else {ZIP}
    unfit = {ZIP, PNG} - (pictures if model.takes_images else set())
    offers = [form for form in DECOMPRESS.offered if form not in unfit]
    return Call(request, service, fields, model, None, preferred(request, offers)), stream


def _unpack(body: Body, fields: DecompressRequest, max_images: int) -> Stream:
    return unpack(_bytes(body, fields), max_images)


def _bytes(body: Body, fields: DecompressRequest) -> bytes:
    if body.stream is not None and fields.stream is not None:
        raise InvalidRequest("stream: in the query and the body")
    if body.stream is not None:
        return body.stream
    if fields.stream is None:
        raise InvalidRequest(f"no stream: accepted are stream in base64, or a body of {STREAM}")
    try:
        return base64.b64decode(fields.stream, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedBody(f"stream is not base64: {error}") from error


def _find(catalog: Catalog, stream: Stream, wish: str | None) -> ModelDescription:
    """The model that wrote the stream. Raises OtherModel, or InvalidRequest for another wish."""
    if wish not in (None, stream.model, stream.needs):
        raise InvalidRequest(f"model {wish!r}: the stream is of {stream.needs}")
    model = catalog.models.get(stream.model)
    if model is None or model.label != stream.needs:
        known = ", ".join(model.label for model in catalog.models.values())
        raise OtherModel(f"it needs {stream.needs}: there are {known}", stream.needs)
    return model


def _decompressed(call: Call[DecompressRequest], answers: list[Answer], num: int) -> Response:
    x = segments.whole_events(answers[0].rows["x"], num, call.model)
    if call.media_type == NPY:
        return call.reply_bytes(answers, npy(x))
    if not call.model.takes_images:
        return call.reply(answers, num_images=num, images=None, instances=x.tolist())
    files = [png(image) for image in x]
    if call.media_type == PNG:
        return call.reply_bytes(answers, files[0])
    if call.media_type == ZIP:
        names = (f"image_{i:04d}.png" for i in range(num))
        return call.reply_bytes(answers, zipped(list(zip(names, files, strict=True))))
    texts = [base64.b64encode(data).decode() for data in files]
    return call.reply(answers, num_images=num, images=texts, instances=None)
