"""One record an endpoint: what it reads and gives, for its route and for the documentation."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from service.catalog.catalog import Catalog
from service.catalog.description import ModelDescription
from service.http.body import JSON, MULTIPART, NPY, PICTURES
from service.schema.requests import Fields

UPLOADS = (*PICTURES, MULTIPART, JSON, NPY)
"""Bodies that bring events."""
X_PROBLEMS = "x-problems"
F = TypeVar("F", bound=Fields)
Lookup = Callable[[Catalog, str | None], ModelDescription]


class Needs(Enum):
    """What a request has to bring; the text says it to one that does not."""

    EVENTS = "no image and no array: accepted are images, files or instances"
    LATENTS = "no latents: accepted are latents, or an npy array of them"
    PERHAPS_EVENTS = ""
    """Events, if it likes."""


@dataclass(frozen=True)
class Endpoint(Generic[F]):
    """What a POST endpoint takes and answers; its function has the rest."""

    path: str
    tag: str
    request: type[F]
    answer: type[BaseModel]
    """The schema of its JSON."""
    needs: Needs = Needs.EVENTS
    accepted: tuple[str, ...] = UPLOADS
    """Content types of bodies."""
    offered: tuple[str, ...] = (JSON,)
    """Content types of answers; the first one if the client does not care."""
    find: Lookup = Catalog.find
    """How the model is looked up."""
    problems: tuple[int, ...] = (400, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)
    """Statuses of its failures."""


def problems(*statuses: int) -> dict[str, Any]:
    """The statuses of a route's failures, left in its documentation for `openapi.describe`."""
    return {X_PROBLEMS: list(statuses)}
