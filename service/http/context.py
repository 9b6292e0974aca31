"""What becomes known about one request on its way, for the log and for its answer's headers."""

from dataclasses import dataclass

from starlette.types import Scope

_SCOPE_KEY = "likely.exchange"


@dataclass
class Exchange:
    """What becomes known about a request on its way."""

    request_id: str
    model: str = ""
    """name@version, once it is known."""
    queue_s: float | None = None
    status: int = 0


def exchange_of(scope: Scope) -> Exchange:
    """The exchange that a request belongs to."""
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange


def begin(scope: Scope, request_id: str) -> Exchange:
    """The exchange of a request that has just arrived."""
    exchange = scope[_SCOPE_KEY] = Exchange(request_id)
    return exchange
