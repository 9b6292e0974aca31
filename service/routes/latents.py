"""Between events and latents: there, back, and both in one."""

import asyncio
from dataclasses import asdict
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import Rows
from service.engine.messages import Answer
from service.http.body import JSON, NPY
from service.http.call import Call, receive
from service.http.endpoint import Endpoint, Needs
from service.http.forms.dispatch import FORMS, make
from service.http.forms.samples import NPZ
from service.http.job import Job
from service.media.encode import npz
from service.results import results
from service.routes.thin import Endpoints
from service.schema.requests import DecodeRequest, EncodeRequest, ReconstructRequest
from service.schema.responses import DecodeAnswer, EncodeAnswer, ReconstructAnswer

router = Endpoints()
ENCODE = Endpoint("/encode", "latents", EncodeRequest, EncodeAnswer, offered=(JSON, NPZ))
DECODE = Endpoint(
    "/decode",
    "latents",
    DecodeRequest,
    DecodeAnswer,
    needs=Needs.LATENTS,
    accepted=(JSON, NPY),
    offered=FORMS,
)
RECONSTRUCT = Endpoint(
    "/reconstruct", "latents", ReconstructRequest, ReconstructAnswer, offered=FORMS
)


@router.answers(ENCODE)
async def encode(request: Request) -> Response:
    """The latent z of each event, standard normal for data like the model's: JSON or npz."""
    call = await receive(request, ENCODE)
    job = call.job("encode", params=call.fields.params, seed=call.fields.seed)
    answers = await call.run(job)
    return await asyncio.to_thread(_encoded, call, job, answers)


def _encoded(call: Call[EncodeRequest], job: Job, answers: list[Answer]) -> Response:
    z, seed = answers[0].rows["z"], job.seed
    if call.media_type == NPZ:
        content = npz(z=z.numpy(), seed=np.array(seed))
        return call.reply_bytes(answers, content, {"X-Seed": str(seed)})
    return call.reply(
        answers,
        results=call.results([{"z": row} for row in results.nested(z)]),
        params=asdict(job.params),
        seed=seed,
    )


@router.answers(DECODE)
async def decode(request: Request) -> Response:
    """The event of each latent, in the forms that samples have."""
    call = await receive(request, DECODE)
    return await make(call, "decode", call.events.num, call.fields.seed, lambda _: {})


@router.answers(RECONSTRUCT)
async def reconstruct(request: Request) -> Response:
    """Each event as it comes back from its latent, in the forms that samples have."""
    call = await receive(request, RECONSTRUCT)
    x = call.events.columns["x"]

    def members(rows: Rows) -> dict[str, Any]:
        errors = (rows["x"] - x).double().square().flatten(1).sum(1)
        items = [{"squared_error": error} for error in results.numbers(errors)]
        return {"results": call.results(items)}

    return await make(call, "reconstruct", len(x), call.fields.seed, members)
