"""Content negotiation: which of the offered forms an answer takes (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence

from starlette.requests import Request

from service.errors import NotAcceptable
from service.http.body import shown


def preferred(request: Request, offers: Sequence[str]) -> str:
    """The offered content type that the client likes best; the first one if it does not care.

    Raises NotAcceptable, naming the offers.
    """
    accept = request.headers.get("accept", "*/*")
    if accept == "*/*":
        return offers[0]
    ranges = [_range(part) for part in accept.split(",") if part.strip()]
    best = max(offers, key=lambda offer: _quality(offer, ranges))
    if _quality(best, ranges) <= 0:
        raise NotAcceptable(f"accept {shown(accept)!r}: offered are {', '.join(offers)}")
    return best


def _range(part: str) -> tuple[str, float]:
    """One entry of an Accept header: media range and quality (RFC 9110, section 12.5.1)."""
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return media, float(parameter[2:])
            except ValueError:
                return media, 0.0
    return media, 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The quality of the most specific range that matches, 0 if none does."""
    for pattern in (offer, offer.partition("/")[0] + "/*", "*/*"):
        for media, quality in ranges:
            if media == pattern:
                return quality
    return 0.0
