"""The five endpoints: each reads a request, submits it, waits, and writes the answer."""

import asyncio
import base64
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from models.core.likelihood import quantise
from service import results
from service.answers import (
    ClassifyAnswer,
    EnergyAnswer,
    LogLikelihoodAnswer,
    OodScoreAnswer,
    SampleAnswer,
)
from service.bodies import JSON
from service.calls import Call, receive
from service.errors import InvalidRequest, NotAcceptable, NotCalibrated, TooManyRows
from service.images import grid, npz, png, zipped
from service.inputs import class_index, operation_params
from service.results import Judge
from service.schemas import (
    ClassifyRequest,
    EnergyRequest,
    LogLikelihoodRequest,
    OodScoreRequest,
    SampleRequest,
)
from service.worker import Answer

PNG, ZIP, NPZ = "image/png", "application/zip", "application/x-npz"
SAMPLE_FORMS = (JSON, PNG, ZIP, NPZ)


class ThinRoute(APIRoute):
    """A documented route whose endpoint takes the request and writes its own response.

    FastAPI's dependencies and response models would cost more than a small model's answer.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


router = APIRouter(route_class=ThinRoute)


@router.post("/log_likelihood", tags=["score"], responses={200: {"model": LogLikelihoodAnswer}})
async def log_likelihood(request: Request) -> Response:
    """How likely each image is, in nats of its 8-bit pixels; `kind` says what the number is."""
    call = await receive(request, LogLikelihoodRequest)
    fields = call.fields
    job = call.submit("log_likelihood", params=fields.params, seed=fields.seed)
    answers = await call.wait(job)
    operation = call.served.operation("log_likelihood")
    kind = operation.kind(operation_params(operation, fields.params))
    found = results.log_likelihoods(call.served, answers[0].rows, kind)
    return call.reply(answers, results=call.results(found))


@router.post("/energy", tags=["score"], responses={200: {"model": EnergyAnswer}})
async def energy(request: Request) -> Response:
    """Minus the unnormalised log density of each image in nats: low = likely."""
    call = await receive(request, EnergyRequest)
    job = call.submit("energy", params=call.fields.params, label=call.fields.label)
    answers = await call.wait(job)
    found = results.energies(call.served, answers[0].rows)
    return call.reply(answers, results=call.results(found))


@router.post("/ood_score", tags=["screen"], responses={200: {"model": OodScoreAnswer}})
async def ood_score(request: Request) -> Response:
    """How strange each image is, with a calibrated p-value: `is_ood` if it is at most alpha."""
    call = await receive(request, OodScoreRequest)
    judge = Judge.of(call.served, call.fields.score, call.fields.alpha)
    answers = await call.wait(call.submit(judge.score.operation))
    found = results.ood_scores(judge, answers[0].rows)
    return call.reply(
        answers,
        results=call.results(found),
        calibration=judge.summary(),
        batch=results.batch_verdict(judge, found),
    )


@router.post("/classify", tags=["screen"], responses={200: {"model": ClassifyAnswer}})
async def classify(request: Request) -> Response:
    """The class of each image, and `uncertain` where the image is unlike all classes."""
    call = await receive(request, ClassifyRequest)
    judge, note = None, None
    try:
        judge = Judge.of(call.served, call.fields.score, call.fields.alpha)
    except NotCalibrated as error:
        note = f"no decision: {error}"
    jobs = [call.submit("classify")]
    outputs = call.served.operation("classify").outputs
    if judge and not set(judge.score.columns) <= set(outputs):
        jobs.append(call.submit(judge.score.operation))
    answers = await call.wait(*jobs)
    found = results.classes(call.served, answers[0].rows, judge, answers[-1].rows)
    calibration = judge.summary() if judge else None
    return call.reply(answers, results=call.results(found), calibration=calibration, note=note)


@router.post("/sample", tags=["sample"], responses={200: {"model": SampleAnswer}})
async def sample(request: Request) -> Response:
    """New images: by Accept as JSON (PNGs or arrays), one PNG grid, a zip of PNGs or an npz."""
    call = await receive(request, SampleRequest, (JSON,), SAMPLE_FORMS, required="")
    fields = call.fields
    if call.media_type in (PNG, ZIP) and not call.served.takes_images:
        raise NotAcceptable(f"the samples are vectors: offered are {JSON} and {NPZ}")
    num = _num_samples(call)
    seed = secrets.randbits(53) if fields.seed is None else fields.seed
    job = call.submit("sample", params=fields.params, label=fields.label, seed=seed, num=num)
    answers = await call.wait(job)
    return await asyncio.to_thread(_sampled, call, answers, seed)


def _num_samples(call: Call[SampleRequest]) -> int:
    num_events = call.uploads.num if call.uploads else 1
    num = call.fields.num_samples or num_events
    limit = call.service.settings.max_num_samples
    if num > limit:
        raise TooManyRows(f"num_samples {num}: accepted are 1 to {limit}")
    if num_events not in (1, num):
        raise InvalidRequest(f"num_samples {num} with {num_events} images: accepted is one each")
    return num


def _sampled(call: Call[SampleRequest], answers: list[Answer], seed: int) -> Response:
    """The samples in the form that was negotiated; binary forms name the seed in a header."""
    x = answers[0].rows["x"]
    headers = {"X-Seed": str(seed)}
    if call.media_type == NPZ:
        return call.reply_bytes(answers, npz(x=x.numpy(), seed=np.array(seed)), headers)
    if call.media_type == JSON:
        return _sampled_json(call, answers, seed)
    pixels = quantise(x).numpy()
    if call.media_type == PNG:
        return call.reply_bytes(answers, png(grid(pixels)), headers)
    files = [(f"sample_{i:04d}.png", png(tile)) for i, tile in enumerate(pixels)]
    return call.reply_bytes(answers, zipped(files), headers)


def _sampled_json(call: Call[SampleRequest], answers: list[Answer], seed: int) -> Response:
    x = answers[0].rows["x"]
    operation = call.served.operation("sample")
    arrays = call.fields.format == "arrays" or not call.served.takes_images
    samples: list[Any]
    if arrays:
        samples = x.double().numpy().round(6).tolist()
    else:
        samples = [base64.b64encode(png(tile)).decode() for tile in quantise(x).numpy()]
    index = class_index(call.fields.label, call.served, operation)
    return call.reply(
        answers,
        seed=seed,
        kind=call.served.model.likelihood,
        label=call.served.class_names[index] if index >= 0 else None,
        params=asdict(operation_params(operation, call.fields.params)),
        format="arrays" if arrays else "png",
        samples=samples,
    )
