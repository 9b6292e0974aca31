"""What FastAPI cannot know for the documentation: bodies in several forms, and problems."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.body import JSON, MULTIPART, NPY, PICTURES, STREAM
from service.http.forms.event_stream import EVENTS
from service.http.forms.samples import ANIMATIONS, NPZ, PNG, ZIP
from service.schema.answers import Problem
from service.schema.requests import (
    ClassifyRequest,
    CompressRequest,
    DecodeRequest,
    DecompressRequest,
    EncodeRequest,
    EnergyRequest,
    LogLikelihoodRequest,
    OodScoreRequest,
    ReconstructRequest,
    Request,
    SampleRequest,
)
from service.settings import Settings

_BINARY = {"schema": {"type": "string", "format": "binary"}}
REQUESTS: dict[str, type[Request]] = {
    "/sample": SampleRequest,
    "/log_likelihood": LogLikelihoodRequest,
    "/energy": EnergyRequest,
    "/ood_score": OodScoreRequest,
    "/classify": ClassifyRequest,
    "/encode": EncodeRequest,
    "/decode": DecodeRequest,
    "/reconstruct": ReconstructRequest,
    "/compress": CompressRequest,
    "/decompress": DecompressRequest,
}
_IN: dict[str, dict[str, Any]] = {
    "/sample": {},
    "/decode": {NPY: _BINARY},
    "/decompress": {STREAM: _BINARY},
}
"""Bodies beside JSON, of those that do not take events."""
_EVENTS = {"schema": {"type": "string", "description": "events progress, then result or problem"}}
_ALL_FORMS = {**dict.fromkeys((PNG, ZIP, NPZ, *ANIMATIONS), _BINARY), EVENTS: _EVENTS}
_OUT = {
    "/sample": _ALL_FORMS,
    "/decode": _ALL_FORMS,
    "/reconstruct": _ALL_FORMS,
    "/encode": {NPZ: _BINARY},
    "/compress": {STREAM: _BINARY},
    "/decompress": {PNG: _BINARY, ZIP: _BINARY, NPY: _BINARY, EVENTS: _EVENTS},
}
_POST_STATUSES = (400, 404, 406, 408, 413, 415, 422, 429, 500, 503, 504)
_GET_STATUSES = {
    "/models": (503,),
    "/models/{name}": (404, 422, 503),
    "/models/{name}/drift": (404, 422, 503),
    "/health/live": (503,),
    "/health/ready": (503,),
    "/problems/{slug}": (404, 422),
}
_IN_BODY_ONLY = ("images", "instances", "latents", "params", "stream")


def describe(schema: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Add request bodies, query parameters, binary answers and problems to FastAPI's schema."""
    documented: list[type[BaseModel]] = [*REQUESTS.values(), Problem]
    _, models = models_json_schema(
        [(model, "validation") for model in documented],
        ref_template="#/components/schemas/{model}",
    )
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components.update(models["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    num = components["SampleRequest"]["properties"]["num_samples"]
    num["anyOf"][0]["maximum"] = settings.max_num_samples

    for path, model in REQUESTS.items():
        operation = schema["paths"][path]["post"]
        properties = components[model.__name__]["properties"]
        query = {n: p for n, p in properties.items() if n not in _IN_BODY_ONLY}
        operation["parameters"] = [
            {"name": name, "in": "query", "required": False, "schema": part}
            for name, part in query.items()
        ]
        uploads = _IN[path] if path in _IN else _uploads(query)
        reference = {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
        operation["requestBody"] = {"required": True, "content": {JSON: reference, **uploads}}
        _add_problems(operation, _POST_STATUSES)
        operation["responses"]["200"]["content"].update(_OUT.get(path, {}))

    for path, statuses in _GET_STATUSES.items():
        _add_problems(schema["paths"][path]["get"], statuses)
    _add_problems(schema["paths"]["/models/{name}/drift/reset"]["post"], (404, 422, 503))
    metrics = schema["paths"]["/metrics"]["get"]["responses"]["200"]
    metrics["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return schema


def _uploads(query: dict[str, Any]) -> dict[str, Any]:
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "required": ["files"], "properties": {"files": files, **query}}
    return {
        MULTIPART: {"schema": form},
        NPY: _BINARY,
        **dict.fromkeys(PICTURES, _BINARY),
    }


def _add_problems(operation: dict[str, Any], statuses: tuple[int, ...]) -> None:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in statuses:
        text = f"see /problems; status {status}"
        operation["responses"][str(status)] = {"description": text, "content": content}
