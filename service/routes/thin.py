"""Routes without FastAPI's dependencies and response models."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class ThinRoute(APIRoute):
    """A documented route whose endpoint takes the request and writes its own response.

    FastAPI's dependencies and response models would cost more than a small model's answer.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler
