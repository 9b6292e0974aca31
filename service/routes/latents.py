"""Between events and latents: there, back, and both in one."""

import asyncio
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import Rows
from service.engine.ticket import Answer
from service.http import inputs
from service.http.body import JSON, NPY
from service.http.call import Call, receive
from service.http.forms import dispatch as making
from service.http.forms.samples import NPZ
from service.http.params import operation_params
from service.media.encode import npz
from service.results import results
from service.routes.thin import ThinRoute
from service.schema.answers import DecodeAnswer, EncodeAnswer, ReconstructAnswer
from service.schema.requests import DecodeRequest, EncodeRequest, ReconstructRequest

router = APIRouter(route_class=ThinRoute)


@router.post("/encode", tags=["latents"], responses={200: {"model": EncodeAnswer}})
async def encode(request: Request) -> Response:
    """The latent z of each event, standard normal for data like the model's: JSON or npz."""
    call = await receive(request, EncodeRequest, offers=(JSON, NPZ))
    job = call.submit("encode", params=call.fields.params, seed=call.fields.seed)
    answers = await call.wait(job)
    return await asyncio.to_thread(_encoded, call, answers)


def _encoded(call: Call[EncodeRequest], answers: list[Answer]) -> Response:
    z, seed = answers[0].rows["z"], call.fields.seed
    if call.media_type == NPZ:
        content = npz(z=z.numpy(), seed=np.array(seed))
        return call.reply_bytes(answers, content, {"X-Seed": str(seed)})
    return call.reply(
        answers,
        results=call.results([{"z": row} for row in results.nested(z)]),
        params=asdict(operation_params(call.served.operation("encode"), call.fields.params)),
        seed=seed,
    )


@router.post("/decode", tags=["latents"], responses={200: {"model": DecodeAnswer}})
async def decode(request: Request) -> Response:
    """The event of each latent, in the forms that samples have."""
    call = await receive(
        request,
        DecodeRequest,
        (JSON, NPY),
        making.FORMS,
        inputs.latents,
        "no latents: accepted are latents, or an npy array of them",
    )
    assert call.uploads is not None
    return await making.make(call, "decode", call.uploads.num, call.fields.seed, lambda _: {})


@router.post("/reconstruct", tags=["latents"], responses={200: {"model": ReconstructAnswer}})
async def reconstruct(request: Request) -> Response:
    """Each event as it comes back from its latent, in the forms that samples have."""
    call = await receive(request, ReconstructRequest, offers=making.FORMS)
    assert call.uploads is not None
    x = call.uploads.columns["x"]

    def members(rows: Rows) -> dict[str, Any]:
        errors = (rows["x"] - x).double().square().flatten(1).sum(1)
        found = [{"squared_error": error} for error in results.numbers(errors)]
        return {"results": call.results(found)}

    return await making.make(call, "reconstruct", len(x), call.fields.seed, members)
