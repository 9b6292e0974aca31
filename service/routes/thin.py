"""Routes of endpoint records, without FastAPI's dependencies and response models."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from service.http.endpoint import Endpoint, problems

Function = Callable[[Request], Coroutine[Any, Any, Response]]


class ThinRoute(APIRoute):
    """A documented route whose endpoint takes the request and writes its own response.

    FastAPI's dependencies and response models would cost more than a small model's answer.
    """

    def get_route_handler(self) -> Function:
        handler: Function = self.endpoint
        return handler


class Endpoints(APIRouter):
    """The router of a file of endpoints, which keeps their records."""

    def __init__(self) -> None:
        super().__init__(route_class=ThinRoute)
        self.records: list[Endpoint[Any]] = []

    def answers(self, endpoint: Endpoint[Any]) -> Callable[[Function], Function]:
        """The function below answers requests to this endpoint."""
        self.records.append(endpoint)
        return self.post(
            endpoint.path,
            tags=[endpoint.tag],
            responses={200: {"model": endpoint.answer}},
            openapi_extra=problems(*endpoint.problems),
        )
