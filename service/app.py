"""The application: routes, life and death, and every failure as an RFC 9457 problem document."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Scope

from service.errors import (
    ClientGone,
    InvalidRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServiceError,
)
from service.http.body import shown
from service.http.context import exchange_of
from service.http.middleware import RequestMiddleware
from service.openapi import describe
from service.routes import classify, compression, discovery, drift, latents, sample, scores
from service.routes.thin import Endpoints
from service.service import Service
from service.settings import Settings

ROUTERS = [
    file.router for file in (scores, classify, sample, latents, compression, discovery, drift)
]
ENDPOINTS = [
    record for router in ROUTERS if isinstance(router, Endpoints) for record in router.records
]
PROBLEM_JSON = "application/problem+json"
_BY_STATUS: dict[int, type[ServiceError]] = {
    400: MalformedBody,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
}


class LikelyApp(FastAPI):
    """FastAPI with our observer around everything, even its own error and body-size layers."""

    def build_middleware_stack(self) -> ASGIApp:
        service: Service = self.state.service
        return RequestMiddleware(super().build_middleware_stack(), service, problem)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            service: Service = self.state.service
            self.openapi_schema = describe(super().openapi(), service.settings, ENDPOINTS)
        return self.openapi_schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service as an ASGI application; it loads its models once it is started."""
    settings = settings or Settings()
    app = LikelyApp(
        title="Likely",
        summary="Deep generative models: samples, likelihoods, energies, calibrated OOD scores.",
        version="0.1.0",
        lifespan=_lifespan,
        max_body_size=settings.max_body_bytes,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = Service(settings)
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(ServiceError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_http)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(ClientDisconnect, _refuse_gone)
    app.add_exception_handler(Exception, _refuse_unexpected)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    yield
    await service.stop()


def problem(
    scope: Scope, error: ServiceError, headers: Mapping[str, str] | None = None
) -> Response:
    """A failure as RFC 9457 has it."""
    content = error.document(exchange_of(scope).request_id)
    return Response(
        json.dumps(content, allow_nan=False),
        error.status,
        {**error.headers, **(headers or {})},
        PROBLEM_JSON,
    )


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem(request.scope, error)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, ServiceError)
    where = f"{shown(request.method)} {shown(request.url.path)}"
    return problem(request.scope, kind(f"{where}: {error.detail}"), error.headers)


async def _refuse_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        {"field": ".".join(str(part) for part in e["loc"]), "detail": str(e["msg"])}
        for e in error.errors()
    ]
    detail = "; ".join(f"{e['field']}: {e['detail']}" for e in errors)
    return problem(request.scope, InvalidRequest(detail, errors))


async def _refuse_gone(request: Request, _: Exception) -> Response:
    return problem(request.scope, ClientGone("the client hung up while sending"))


async def _refuse_unexpected(request: Request, _: Exception) -> Response:
    text = "an error of the service, not of the request; the log holds it under this id"
    return problem(request.scope, ServiceError(text))
