"""Discovery and operations: models, health, metrics and what the problem types mean."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from models.core.ood.register import SCORES
from service import errors
from service.catalog.catalog import Served, Store
from service.http.params import params_schema
from service.metrics import CONTENT_TYPE
from service.schema.answers import ModelDetails, Models, ModelSummary
from service.service import Service

router = APIRouter()
PROBLEMS: dict[str, type[errors.ServiceError]] = {
    kind.slug: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ServiceError)
}


@router.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """To the documentation."""
    return RedirectResponse("/docs")


@router.get("/models", tags=["models"])
async def models(request: Request) -> Models:
    """All loaded models."""
    store = _service(request).store
    return Models(models=[_summary(m, store) for m in store.models.values()])


@router.get("/models/{name}", tags=["models"])
async def model(name: str, request: Request) -> ModelDetails:
    """One model: operations with their params, calibration, metrics, provenance, backends."""
    store = _service(request).store
    served = store.find(name)
    bundle = served.bundle
    summary = _summary(served, store).model_dump(exclude={"operations", "scores"})
    return ModelDetails(
        **summary,
        latent_shape=list(shape) if (shape := served.model.latent_shape) else None,
        num_levels=served.model.grid.num_levels if served.model.grid else None,
        preprocessing=asdict(form) if (form := served.preprocessing) else None,
        feature_names=list(bundle.feature_names),
        operations={name: _operation(served, name) for name in served.operations},
        calibration={
            "source": bundle.calibration_source,
            "scores": {
                name: {
                    "num_images": len(calibration.scores),
                    "smallest_alpha": 1 / (len(calibration.scores) + 1),
                    "unit": SCORES[name].unit,
                    "description": SCORES[name].description,
                }
                for name, calibration in bundle.calibrations.items()
            },
        },
        metrics=bundle.metrics,
        provenance=bundle.provenance,
        backends={
            name: {"backend": backend.name, "milliseconds_by_rows": backend.milliseconds}
            for name, backend in served.backends.items()
        },
    )


@router.get("/health/live", tags=["health"])
async def live(request: Request) -> dict[str, str]:
    """200 as long as the process can recover by itself; 503 means: replace it."""
    if _service(request).worker.broken:
        raise errors.NotReady("the device failed and the process has to be replaced")
    return {"status": "live"}


@router.get("/health/ready", tags=["health"])
async def ready(request: Request) -> dict[str, Any]:
    """200 once the models are warm, 503 before and while the service drains."""
    store = _service(request).check_ready()
    return {
        "status": "ready",
        "models": [served.label for served in store.models.values()],
        "default_screen": screen.label if (screen := store.screens_by_default) else None,
        "failed": [{"bundle": url, "reason": why} for url, why in store.failed.items()],
    }


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(_service(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE})


@router.get("/problems/{slug}", tags=["models"])
async def problem(slug: str) -> dict[str, Any]:
    """What a problem type means."""
    if slug not in PROBLEMS:
        raise errors.NotFound(f"problem {slug!r}: there are {', '.join(PROBLEMS)}")
    kind = PROBLEMS[slug]
    return {"type": slug, "title": kind.title, "status": kind.status, "meaning": kind.__doc__}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _summary(served: Served, store: Store) -> ModelSummary:
    bundle = served.bundle
    screen = store.screen_of(served)
    return ModelSummary(
        name=bundle.name,
        version=bundle.version,
        family=bundle.family,
        default=served is store.find(None),
        default_screen=served is store.screens_by_default,
        screen=screen.label if screen else None,
        event_shape=list(served.model.event_shape),
        likelihood=served.model.likelihood,
        class_names=list(served.class_names),
        operations=list(served.operations),
        scores=list(bundle.calibrations),
    )


def _operation(served: Served, name: str) -> dict[str, Any]:
    operation = served.operations[name]
    defaults = operation.default_params
    return {
        "params": params_schema(operation),
        "defaults": asdict(defaults),
        "outputs": tuple(operation.outputs),
        "kind": operation.kind(defaults),
        "needs_events": operation.needs_events,
        "needs_latents": operation.needs_latents,
        "takes_label": operation.takes_label,
        "backends": {
            graph: served.backends[graph].name
            for graph in operation.graphs
            if graph in served.backends
        },
    }
