"""From a validated request to an operation's inputs: events, labels and params."""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from models.core.noise import row_seeds
from models.core.operation import Operation, Rows
from service.arrays import from_instances, from_npy, unit
from service.bodies import Body, invalid
from service.errors import InvalidRequest, TooManyRows, UnsupportedOperation
from service.images import Decoder
from service.store import Served

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
_LARGE_BYTES = 2**20
"""Arrays beyond this are converted in a thread."""


@dataclass(frozen=True)
class Events:
    """What a request is about, in the form that the model takes."""

    x: Tensor
    """(B, *event_shape), float32."""
    converted: list[list[str]]
    """Per event: what was changed to make it fit."""


async def events(
    body: Body, instances: list[Any] | None, served: Served, decoder: Decoder, max_images: int
) -> Events | None:
    """The uploads of a request, None if there are none. Raises what is wrong with them."""
    num = len(body.images) or len(instances or ())
    if num > max_images:
        raise TooManyRows(f"{num} images or instances: accepted are at most {max_images}")
    if body.images:
        return await _pictures(body.images, served, decoder)
    shape = served.model.event_shape
    if instances is not None:
        array = await asyncio.to_thread(from_instances, instances, shape)
    elif body.npy is not None and len(body.npy) > _LARGE_BYTES:
        array = await asyncio.to_thread(from_npy, body.npy, shape)
    elif body.npy is not None:
        array = from_npy(body.npy, shape)
    else:
        return None
    if len(array) > max_images:
        raise TooManyRows(f"{len(array)} instances: accepted are at most {max_images}")
    return Events(torch.from_numpy(array), [[] for _ in array])


async def _pictures(images: list[bytes], served: Served, decoder: Decoder) -> Events:
    if not served.takes_images:
        raise UnsupportedOperation(
            f"model {served.bundle.name} is about vectors of shape {served.model.event_shape}: "
            "accepted are instances and npy arrays"
        )
    made = served.bundle.preprocessing
    if len(images) == 1:
        decoded = [await decoder.decode(images[0], 0, made)]
    else:
        decoded = await asyncio.gather(
            *(decoder.decode(data, i, made) for i, data in enumerate(images))
        )
    x = unit(np.stack([image.pixels for image in decoded]))
    return Events(torch.from_numpy(x), [list(image.notes) for image in decoded])


def rows(
    served: Served,
    operation: Operation[Any],
    seed: int,
    num: int,
    x: Tensor | None = None,
    label: int = -1,
) -> Rows:
    """The input columns of an operation; label -1 stands for none."""
    columns = {"seed": row_seeds(seed, num)}
    if x is not None:
        columns["x"] = x
    if operation.takes_label and served.model.num_classes:
        columns["label"] = torch.from_numpy(np.full(num, label))
    return columns


def class_index(label: int | str | None, served: Served, operation: Operation[Any]) -> int:
    """The index of a class given by name or index, -1 for none. Raises InvalidRequest."""
    if label is None:
        return -1
    names = served.class_names
    if not names or not operation.takes_label:
        raise InvalidRequest(f"label {label!r}: model {served.bundle.name} takes no label here")
    if label in names:
        return names.index(str(label))
    if isinstance(label, str) and label.isascii() and label.isdecimal() and len(label) < 10:
        label = int(label)
    if isinstance(label, int) and label < len(names):
        return label
    raise InvalidRequest(
        f"label {label!r}: accepted are 0 to {len(names) - 1}, or one of {', '.join(names)}"
    )


def operation_params(operation: Operation[Any], given: Mapping[str, Any]) -> Any:
    """The operation's defaults, changed where the request says so. Raises InvalidRequest."""
    defaults = operation.default_params
    if not given:
        return defaults
    names = asdict(defaults)
    accepted = f"accepted params are {', '.join(names) or 'none'}"
    if unknown := sorted(set(given) - set(names)):
        raise InvalidRequest(
            f"unknown {', '.join(unknown)} ({accepted})",
            [{"field": f"params.{name}", "detail": "unknown"} for name in unknown],
        )
    try:
        params = _adapter(operation.Params).validate_python({**names, **given})
    except ValidationError as error:
        raise invalid(error, accepted) from error
    for name, value in asdict(params).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidRequest(f"params.{name}: accepted are finite numbers")
    return params


def params_schema(operation: Operation[Any]) -> dict[str, Any]:
    """The JSON schema of an operation's params."""
    return _adapter(operation.Params).json_schema()


def _adapter(params: type[Any]) -> TypeAdapter[Any]:
    if params not in _ADAPTERS:
        _ADAPTERS[params] = TypeAdapter(params)
    return _ADAPTERS[params]
