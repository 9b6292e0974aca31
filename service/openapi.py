"""What FastAPI cannot know for the documentation: bodies in several forms, and problems."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.http.body import JSON, MULTIPART, NPY, PICTURES, STREAM
from service.http.endpoint import X_PROBLEMS, Endpoint
from service.http.forms.event_stream import EVENTS
from service.schema.responses import Problem
from service.settings import Settings

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_ANSWERS = {
    EVENTS: {"schema": {"type": "string", "description": "events progress, then result or problem"}}
}
"""Forms of answers that are no files."""
_IN_BODY_ONLY = ("images", "instances", "latents", "params", "stream")


def describe(
    schema: dict[str, Any], settings: Settings, endpoints: Sequence[Endpoint[Any]]
) -> dict[str, Any]:
    """Add request bodies, query parameters, binary answers and problems to FastAPI's schema."""
    documented: list[type[BaseModel]] = [*(endpoint.request for endpoint in endpoints), Problem]
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

    for endpoint in endpoints:
        operation = schema["paths"][endpoint.path]["post"]
        properties = components[endpoint.request.__name__]["properties"]
        query = {n: p for n, p in properties.items() if n not in _IN_BODY_ONLY}
        operation["parameters"] = [
            # Without defaults: a client that fills them in would say twice what the body says.
            {"name": name, "in": "query", "required": False, "schema": _without_default(part)}
            for name, part in query.items()
        ]
        operation["requestBody"] = {"required": True, "content": _bodies(endpoint, query)}
        answers = {form: _ANSWERS.get(form, _BINARY) for form in endpoint.offered if form != JSON}
        operation["responses"]["200"]["content"].update(answers)

    for path in schema["paths"].values():
        for operation in path.values():
            _add_problems(operation)
    metrics = schema["paths"]["/metrics"]["get"]["responses"]["200"]
    metrics["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return schema


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "default"}


def _bodies(endpoint: Endpoint[Any], query: dict[str, Any]) -> dict[str, Any]:
    """Content types of bodies with their schemas, JSON first."""
    files = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
    form = {"type": "object", "required": ["files"], "properties": {"files": files, **query}}
    reference = {"$ref": f"#/components/schemas/{endpoint.request.__name__}"}
    schemas = {
        JSON: {"schema": reference},
        MULTIPART: {"schema": form},
        **dict.fromkeys((NPY, STREAM, *PICTURES), _BINARY),
    }
    return {kind: schema for kind, schema in schemas.items() if kind in endpoint.accepted}


def _add_problems(operation: dict[str, Any]) -> None:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in operation.pop(X_PROBLEMS, ()):
        text = f"see /problems; status {status}"
        operation["responses"][str(status)] = {"description": text, "content": content}
