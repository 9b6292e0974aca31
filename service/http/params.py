"""What a request says of an operation: params and label, checked against what the model takes."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.catalog.description import ModelDescription, OperationDescription
from service.errors import MAX_ERRORS, InvalidRequest
from service.http.body import invalid, shown

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def class_index(
    label: int | str | None, model: ModelDescription, operation: OperationDescription
) -> int:
    """The index of a class given by name or index, -1 for none. Raises InvalidRequest.

    A name comes first, also where it is written as a number: an index is understood only where no
    class is named by one, so that 1 and "1" always mean the same class.
    """
    if label is None:
        return -1
    names = model.class_names
    if not names or not operation.takes_label:
        raise InvalidRequest(f"label {label!r}: model {model.name} takes no label here")
    text = str(label)
    if text in names:
        return names.index(text)
    accepted = f"one of {', '.join(names)}"
    if not any(map(_is_number, names)):
        if _is_number(text) and int(text) < len(names):
            return int(text)
        accepted = f"0 to {len(names) - 1}, or {accepted}"
    raise InvalidRequest(f"label {label!r}: accepted are {accepted}")


def _is_number(text: str) -> bool:
    """Whether a text may be meant as an index."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def params_from(operation: OperationDescription, given: Mapping[str, Any]) -> Any:
    """The operation's defaults, changed where the request says so. Raises InvalidRequest."""
    defaults = operation.default_params
    if not given:
        return defaults
    names = asdict(defaults)
    accepted = f"accepted params are {', '.join(names) or 'none'}"
    if unknown := sorted(set(given) - set(names)):
        first = [shown(name) for name in unknown[:MAX_ERRORS]]
        more = f" and {len(unknown) - len(first)} more" if len(unknown) > len(first) else ""
        raise InvalidRequest(
            f"unknown {', '.join(first)}{more} ({accepted})",
            [{"field": f"params.{name}", "detail": "unknown"} for name in first],
            len(unknown),
        )
    try:
        params = _adapter(operation.params).validate_python({**names, **given})
    except ValidationError as error:
        raise invalid(error, accepted) from error
    for name, value in asdict(params).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"params.{name}: accepted are finite numbers")
    return params


def params_schema(operation: OperationDescription) -> dict[str, Any]:
    """The JSON schema of an operation's params."""
    return _adapter(operation.params).json_schema()


def _adapter(params: type[Any]) -> TypeAdapter[Any]:
    if params not in _ADAPTERS:
        _ADAPTERS[params] = TypeAdapter(params)
    return _ADAPTERS[params]
