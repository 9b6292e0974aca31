"""Drift: what the service has screened, against the calibration set, and how to start anew."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from service.catalog.catalog import Served
from service.results.screening import calibrated_score
from service.schema.drift import DriftAnswer
from service.service import Service

router = APIRouter()
Score = Annotated[
    str | None,
    Query(max_length=64, description="one of the model's calibrated scores; absent: its first"),
]


@router.get("/models/{name}/drift", tags=["models"])
async def drift(name: str, request: Request, score: Score = None) -> DriftAnswer:
    """Whether the events of /ood_score and /classify are still like the calibration set."""
    service, served, score = _found(name, request, score)
    return service.drift.report(served, score)


@router.post("/models/{name}/drift/reset", tags=["models"])
async def reset_drift(name: str, request: Request, score: Score = None) -> DriftAnswer:
    """Forget what was seen and test anew, once an alarm was looked into."""
    service, served, score = _found(name, request, score)
    service.drift.reset(served, score)
    return service.drift.report(served, score)


def _found(name: str, request: Request, score: str | None) -> tuple[Service, Served, str]:
    """Raises UnknownModel, NotCalibrated, or InvalidRequest for an unknown score."""
    service: Service = request.app.state.service
    served = service.store.find(name)
    return service, served, calibrated_score(served, score)
