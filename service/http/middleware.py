"""Around every request: an id, a line in the log, the metrics, and a last resort for errors."""

import re
import secrets
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import PayloadTooLarge, ServiceError
from service.http.context import Exchange, begin
from service.service import Service

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestMiddleware:
    """The outermost ASGI layer, so that it sees every answer, whoever gives it."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        refuse: Callable[[Scope, ServiceError], Response],
    ) -> None:
        self.app = app
        self.service = service
        self.refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start_s = time.perf_counter()
        method = scope["method"]
        if method == "HEAD":  # as GET, without the body; the server's own scope stays as it is
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        wished = headers.get("x-request-id", "")
        sane = _SANE_ID.fullmatch(wished)
        exchange = begin(scope, wished if sane else secrets.token_hex(8))

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                marks = MutableHeaders(scope=message)
                marks["X-Request-Id"] = exchange.request_id
                if exchange.model:
                    marks["X-Model"] = exchange.model
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            if _length(headers) > self.service.settings.max_body_bytes:
                limit = self.service.settings.max_body_bytes
                error = PayloadTooLarge(f"accepted are bodies of at most {limit} bytes")
                await self.refuse(scope, error)(scope, receive, send_marked)
            else:
                await self.app(scope, receive, send_marked)
        except Exception as error:  # already answered with 500; here it is written down
            self.service.log.error(
                "unexpected error", request_id=exchange.request_id, exc_info=error
            )
        finally:
            self._record(scope, method, exchange, time.perf_counter() - start_s)

    def _record(self, scope: Scope, method: str, exchange: Exchange, seconds: float) -> None:
        endpoint = getattr(scope.get("route"), "path", "other")
        metrics = self.service.metrics
        name = exchange.model.partition("@")[0]
        metrics.requests.labels(endpoint, name, exchange.status).inc()
        metrics.request_duration.labels(endpoint).observe(seconds)
        if exchange.status == 429:
            metrics.shed.inc()
        if exchange.queue_s is not None:
            metrics.queue.labels(endpoint).observe(exchange.queue_s)
        self.service.log.info(
            "request",
            request_id=exchange.request_id,
            method=method,
            path=scope["path"],
            status=exchange.status,
            model=exchange.model,
            ms=round(1000 * seconds, 3),
        )


def _length(headers: Headers) -> int:
    """What Content-Length says, -1 if it says nothing."""
    text = headers.get("content-length", "")
    return int(text[:19]) if text.isascii() and text.isdecimal() else -1
