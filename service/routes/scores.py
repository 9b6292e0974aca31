"""Scores and samples: each endpoint reads a request, submits it, waits, and writes the answer."""

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from models.core.contract.rows import num_rows
from service.catalog.catalog import Store
from service.errors import InvalidRequest, ServiceError, TooManyRows
from service.http.body import JSON
from service.http.call import Call, receive
from service.http.forms import dispatch as making
from service.http.inputs import class_index, operation_params
from service.results import results
from service.results.screening import Judge, undecided
from service.routes.classify import judge_of, with_notes
from service.schema.answers import EnergyAnswer, LogLikelihoodAnswer, SampleAnswer
from service.schema.requests import (
    ClassifyRequest,
    EnergyRequest,
    LogLikelihoodRequest,
    OodScoreRequest,
    SampleRequest,
)
from service.schema.screening import ClassifyAnswer, OodScoreAnswer


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
    """How likely each event is, in nats; `kind` says what the number is."""
    call = await receive(request, LogLikelihoodRequest)
    fields = call.fields
    job = call.submit("log_likelihood", params=fields.params, label=fields.label, seed=fields.seed)
    answers = await call.wait(job)
    about = _about(call, "log_likelihood")
    found = results.log_likelihoods(call.served, answers[0].rows, about)
    return call.reply(answers, results=call.results(found))


@router.post("/energy", tags=["score"], responses={200: {"model": EnergyAnswer}})
async def energy(request: Request) -> Response:
    """Minus the log density of each event in nats, up to a constant if unnormalised."""
    call = await receive(request, EnergyRequest)
    fields = call.fields
    job = call.submit("energy", params=fields.params, label=fields.label, seed=fields.seed)
    answers = await call.wait(job)
    found = results.energies(call.served, answers[0].rows, _about(call, "energy"))
    return call.reply(answers, results=call.results(found))


def _about(call: Call[LogLikelihoodRequest] | Call[EnergyRequest], name: str) -> results.About:
    operation = call.served.operation(name)
    params = operation_params(operation, call.fields.params)
    return results.About(operation.kind(params), asdict(params).get("num_samples"))


@router.post("/ood_score", tags=["screen"], responses={200: {"model": OodScoreAnswer}})
async def ood_score(request: Request) -> Response:
    """How strange each event is, with a calibrated p-value, and whether that is an alarm."""
    call = await receive(request, OodScoreRequest, find=Store.find_screen)
    judge = Judge.of(call.served, call.fields, call.fields.score)
    answers = await call.wait(call.submit(judge.score.operation))
    judged = judge.judged(answers[0].rows)
    call.service.drift.see(judge.served, judge.name, judged.scores)
    return call.reply(
        answers,
        results=call.results(judged.results()),
        calibration=judge.summary(),
        batch=judged.batch(),
    )


@router.post("/classify", tags=["screen"], responses={200: {"model": ClassifyAnswer}})
async def classify(request: Request) -> Response:
    """The class of each image, and `uncertain` where the image is unlike all classes."""
    call = await receive(request, ClassifyRequest)
    judge, beside, note = await judge_of(call)
    jobs = [call.submit("classify")]
    outputs = call.served.operation("classify").outputs
    if judge and (beside is not call or not set(judge.score.columns) <= set(outputs)):
        try:
            jobs.append(beside.submit(judge.score.operation))
        except ServiceError:
            jobs[0].cancel()
            raise
    answers = await call.wait(*jobs)
    rows = answers[0].rows
    decided = undecided(num_rows(rows))
    if judge:
        judged = judge.judged(answers[-1].rows)
        call.service.drift.see(judge.served, judge.name, judged.scores)
        decided = judged.decisions()
    if beside is not call:
        call = with_notes(call, beside)
    return call.reply(
        answers,
        results=call.results(results.classes(call.served, rows, decided)),
        screen=judge.served.label if judge and judge.served.is_screen else None,
        calibration=judge.summary() if judge else None,
        note=note,
    )


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
