"""Scores: each endpoint reads a request, submits it, waits, and writes the answer."""

from dataclasses import asdict

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.catalog.catalog import Store
from service.http.call import Call, receive
from service.http.params import operation_params
from service.results import results
from service.results.screening import Judge
from service.routes.thin import ThinRoute
from service.schema.answers import EnergyAnswer, LogLikelihoodAnswer
from service.schema.requests import (
    EnergyRequest,
    LogLikelihoodRequest,
    OodScoreRequest,
)
from service.schema.screening import OodScoreAnswer

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
