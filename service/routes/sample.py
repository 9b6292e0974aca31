"""Samples: new events, in the form that was negotiated."""

import secrets

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest, TooManyRows
from service.http.body import JSON
from service.http.call import Call, receive
from service.http.forms import dispatch as making
from service.http.params import class_index
from service.routes.thin import ThinRoute
from service.schema.answers import SampleAnswer
from service.schema.requests import SampleRequest

router = APIRouter(route_class=ThinRoute)


@router.post("/sample", tags=["sample"], responses={200: {"model": SampleAnswer}})
async def sample(request: Request) -> Response:
    """New events: by Accept as JSON (PNGs or arrays), one PNG grid, a zip of PNGs or an npz.

    As `text/event-stream` with pictures of the events while they are made; as `image/gif`,
    `image/webp` or `image/apng` those pictures in a row.
    """
    call = await receive(request, SampleRequest, (JSON,), making.FORMS, required="")
    fields = call.fields
    index = class_index(fields.label, call.served, call.served.operation("sample"))
    members = {"label": call.served.class_names[index] if index >= 0 else None}
    seed = secrets.randbits(53) if fields.seed is None else fields.seed
    return await making.make(
        call, "sample", _num_samples(call), seed, lambda _: members, fields.label
    )


def _num_samples(call: Call[SampleRequest]) -> int:
    num_events = call.uploads.num if call.uploads else 1
    num = call.fields.num_samples or num_events
    limit = call.service.settings.max_num_samples
    if num > limit:
        raise TooManyRows(f"num_samples {num}: accepted are 1 to {limit}")
    if num_events not in (1, num):
        raise InvalidRequest(f"num_samples {num} with {num_events} images: accepted is one each")
    return num
