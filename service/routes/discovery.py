"""Discovery and operations: models, health, metrics and what the problem types mean."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.core.ood.register import SCORES
from service.catalog.catalog import Catalog
from service.catalog.description import ModelDescription
from service.errors import PROBLEMS, NotFound, NotReady
from service.http.body import shown
from service.http.endpoint import problems
from service.http.params import params_schema
from service.metrics import CONTENT_TYPE
from service.schema.responses import ModelDetails, Models, ModelSummary
from service.service import Service

router = APIRouter()


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """To the documentation."""
    return RedirectResponse("/docs")


@router.get("/models", tags=["models"], openapi_extra=problems(503))
async def models(request: Request) -> Models:
    """All loaded models."""
    catalog = _service(request).catalog
    return Models(models=[_summary(m, catalog) for m in catalog.models.values()])


@router.get("/models/{name}", tags=["models"], openapi_extra=problems(404, 422, 503))
async def model(name: str, request: Request) -> ModelDetails:
    """One model: operations with their params, calibration, metrics, provenance, backends."""
    catalog = _service(request).catalog
    described = catalog.find(name)
    summary = _summary(described, catalog).model_dump(exclude={"operations", "scores"})
    return ModelDetails(
        **summary,
        latent_shape=list(shape) if (shape := described.latent_shape) else None,
        num_levels=described.grid.num_levels if described.grid else None,
        preprocessing=asdict(form) if (form := described.preprocessing) else None,
        feature_names=list(described.feature_names),
        operations={name: _operation(described, name) for name in described.operations},
        calibration={
            "source": described.calibration_source,
            "scores": {
                name: {
                    "num_images": len(calibration.scores),
                    "smallest_alpha": 1 / (len(calibration.scores) + 1),
                    "unit": SCORES[name].unit,
                    "description": SCORES[name].description,
                }
                for name, calibration in described.calibrations.items()
            },
        },
        metrics=dict(described.metrics),
        provenance=dict(described.provenance),
        backends={
            name: {"backend": backend.name, "milliseconds_by_rows": backend.milliseconds}
            for name, backend in described.backends.items()
        },
    )


@router.get("/health/live", tags=["health"], openapi_extra=problems(503))
async def live(request: Request) -> dict[str, str]:
    """200 as long as the process can recover by itself; 503 means: replace it."""
    if _service(request).engine.status().broken:
        raise NotReady("the device failed and the process has to be replaced")
    return {"status": "live"}


@router.get("/health/ready", tags=["health"], openapi_extra=problems(503))
async def ready(request: Request) -> dict[str, Any]:
    """200 once the models are warm, 503 before and while the service drains."""
    catalog = _service(request).check_ready()
    return {
        "status": "ready",
        "models": [model.label for model in catalog.models.values()],
        "default_screen": screen.label if (screen := catalog.screens_by_default) else None,
        "failed": [{"bundle": url, "reason": why} for url, why in catalog.failed.items()],
    }


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(_service(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/problems/{slug}", tags=["models"], openapi_extra=problems(404, 422))
async def problem(slug: str) -> dict[str, Any]:
    """What a problem type means."""
    if slug not in PROBLEMS:
        raise NotFound(f"problem {shown(slug)!r}: there are {', '.join(PROBLEMS)}")
    kind = PROBLEMS[slug]
    return {"type": slug, "title": kind.title, "status": kind.status, "meaning": kind.__doc__}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _summary(model: ModelDescription, catalog: Catalog) -> ModelSummary:
    screen = catalog.screen_of(model)
    return ModelSummary(
        name=model.name,
        version=model.version,
        family=model.family,
        default=model is catalog.find(None),
        default_screen=model is catalog.screens_by_default,
        screen=screen.label if screen else None,
        event_shape=list(model.event_shape),
        likelihood=model.likelihood,
        class_names=list(model.class_names),
        operations=list(model.operations),
        scores=list(model.calibrations),
    )


def _operation(model: ModelDescription, name: str) -> dict[str, Any]:
    operation = model.operations[name]
    return {
        "params": params_schema(operation),
        "defaults": asdict(operation.default_params),
        "outputs": operation.outputs,
        "kind": operation.default_kind,
        "needs_events": operation.needs_events,
        "needs_latents": operation.needs_latents,
        "takes_label": operation.takes_label,
        "backends": {
            graph: model.backends[graph].name
            for graph in operation.graphs
            if graph in model.backends
        },
    }
