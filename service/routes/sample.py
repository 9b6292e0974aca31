"""Samples: new events, in the form that was negotiated."""

import secrets

from starlette.requests import Request
from starlette.responses import Response

from service.errors import InvalidRequest, TooManyRows
from service.http.body import JSON
from service.http.call import Call, receive
from service.http.endpoint import Endpoint, Needs
from service.http.forms.dispatch import FORMS, make
from service.http.params import class_index
from service.routes.thin import Endpoints
from service.schema.requests import SampleRequest
from service.schema.responses import SampleAnswer

router = Endpoints()
SAMPLE = Endpoint(
    "/sample",
    "sample",
    SampleRequest,
    SampleAnswer,
    needs=Needs.PERHAPS_EVENTS,
    accepted=(JSON,),
    offered=FORMS,
)


@router.answers(SAMPLE)
async def sample(request: Request) -> Response:
    """New events: by Accept as JSON (PNGs or arrays), one PNG grid, a zip of PNGs or an npz.

    As `text/event-stream` with pictures of the events while they are made; as `image/gif`,
    `image/webp` or `image/apng` those pictures in a row.
    """
    call = await receive(request, SAMPLE)
    label = class_index(call.fields.label, call.model, call.model.operation("sample"))
    members = {"label": call.model.class_names[label] if label >= 0 else None}
    seed = secrets.randbits(53) if call.fields.seed is None else call.fields.seed
    return await make(call, "sample", _num_samples(call), seed, lambda _: members, label)


def _num_samples(call: Call[SampleRequest]) -> int:
    num_events = call.uploads.num if call.uploads else 1
    num = call.fields.num_samples or num_events
    limit = call.service.settings.max_num_samples
    if num > limit:
        raise TooManyRows(f"num_samples {num}: accepted are 1 to {limit}")
    if num_events not in (1, num):
        raise InvalidRequest(f"num_samples {num} with {num_events} images: accepted is one each")
    return num
