"""Drift: what the service has screened, against the calibration set, and how to start anew."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from service.catalog.description import ModelDescription
from service.http.endpoint import problems
from service.results.screening import calibrated_score
from service.schema.drift import DriftAnswer
from service.service import Service

router = APIRouter()
_PROBLEMS = problems(404, 422, 503)
Score = Annotated[
    str | None,
    Query(max_length=64, description="one of the model's calibrated scores; absent: its first"),
]


@router.get("/models/{name}/drift", tags=["models"], openapi_extra=_PROBLEMS)
async def drift(name: str, request: Request, score: Score = None) -> DriftAnswer:
    """Whether the events of /ood_score and /classify are still like the calibration set."""
    service: Service = request.app.state.service
    model, score = _calibrated(service, name, score)
    return _answer(service, model, score)


@router.post("/models/{name}/drift/reset", tags=["models"], openapi_extra=_PROBLEMS)
async def reset_drift(name: str, request: Request, score: Score = None) -> DriftAnswer:
    """Forget what was seen and test anew, once an alarm was looked into."""
    service: Service = request.app.state.service
    model, score = _calibrated(service, name, score)
    service.drift.reset(model, score)
    return _answer(service, model, score)


def _calibrated(service: Service, name: str, score: str | None) -> tuple[ModelDescription, str]:
    """Raises UnknownModel, NotCalibrated, or InvalidRequest for an unknown score."""
    model = service.catalog.find(name)
    return model, calibrated_score(model, score)


def _answer(service: Service, model: ModelDescription, score: str) -> DriftAnswer:
    return DriftAnswer.model_validate(asdict(service.drift.report(model, score)))
