"""Scores: each endpoint reads a request, runs a job, and writes the answer."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.catalog.catalog import Catalog
from service.http.call import Call, receive
from service.http.endpoint import Endpoint
from service.http.job import Job
from service.results import results
from service.results.screening import Screener
from service.routes.thin import Endpoints
from service.schema.requests import EnergyRequest, LogLikelihoodRequest, OodScoreRequest
from service.schema.responses import EnergyAnswer, LogLikelihoodAnswer
from service.schema.screening import OodScoreAnswer

router = Endpoints()
LOG_LIKELIHOOD = Endpoint("/log_likelihood", "score", LogLikelihoodRequest, LogLikelihoodAnswer)
ENERGY = Endpoint("/energy", "score", EnergyRequest, EnergyAnswer)
OOD_SCORE = Endpoint(
    "/ood_score", "screen", OodScoreRequest, OodScoreAnswer, find=Catalog.find_screen
)


@router.answers(LOG_LIKELIHOOD)
async def log_likelihood(request: Request) -> Response:
    """How likely each event is, in nats; `kind` says what the number is."""
    call = await receive(request, LOG_LIKELIHOOD)
    fields = call.fields
    job = call.job("log_likelihood", params=fields.params, label=fields.label, seed=fields.seed)
    answers = await call.run(job)
    scores = results.log_likelihoods(call.model, answers[0].rows, await _about(call, job))
    return call.reply(answers, results=call.results(scores))


@router.answers(ENERGY)
async def energy(request: Request) -> Response:
    """Minus the log density of each event in nats, up to a constant if unnormalised."""
    call = await receive(request, ENERGY)
    fields = call.fields
    job = call.job("energy", params=fields.params, label=fields.label, seed=fields.seed)
    answers = await call.run(job)
    energies = results.energies(call.model, answers[0].rows, await _about(call, job))
    return call.reply(answers, results=call.results(energies))


async def _about(call: Call[Any], job: Job) -> results.About:
    plan = await call.plan(job)
    return results.About(plan.kind, asdict(job.params).get("num_samples"))


@router.answers(OOD_SCORE)
async def ood_score(request: Request) -> Response:
    """How strange each event is, with a calibrated p-value, and whether that is an alarm."""
    call = await receive(request, OOD_SCORE)
    screener = Screener.of(call.model, call.fields, call.service.drift, call.fields.score)
    answers = await call.run(call.job(screener.score.operation))
    screened = screener.screen(answers[0].rows)
    return call.reply(
        answers,
        results=call.results(screened.results()),
        calibration=screener.summary(),
        batch=screened.batch(),
    )
