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
    """The index of a class given by name or index, -1 for none. Raises InvalidRequest."""
    if label is None:
        return -1
    names = model.class_names
    if not names or not operation.takes_label:
        raise InvalidRequest(f"label {label!r}: model {model.name} takes no label here")
    if label in names:
        return names.index(str(label))
    if isinstance(label, str) and label.isascii() and label.isdecimal() and len(label) < 10:
        label = int(label)
    if isinstance(label, int) and label < len(names):
        return label
    raise InvalidRequest(
        f"label {label!r}: accepted are 0 to {len(names) - 1}, or one of {', '.join(names)}"
    )


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
