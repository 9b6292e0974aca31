"""Arrays in: JSON instances and npy bodies become events, checked before anything is allocated."""

import io
import math
import struct
import tokenize
from typing import Any

import numpy as np

from service.errors import InvalidArray

_FLOATS = ("f2", "f4", "f8")


def unit(pixels: np.ndarray) -> np.ndarray:
    """Grey levels as events in [0, 1], the same numbers as `to_unit` of the models gives.

    In NumPy, since torch gives the interpreter away at every call, and getting it back from the
    worker's thread takes longer than the arithmetic. Shapes: uint8 (B, ...) -> float32 (B, ...).
    """
    return pixels.astype(np.float32) / np.float32(255)


def from_instances(instances: list[Any], event_shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of numbers, one entry per event -> float32 (B, *event_shape)."""
    try:
        array = np.asarray(instances)
    except ValueError as error:
        raise InvalidArray(f"instances are ragged: {_accepted(event_shape)}") from error
    if array.dtype.kind not in "if":
        raise InvalidArray(f"instances hold other things than numbers: {_accepted(event_shape)}")
    return _checked(array.astype(np.float64), event_shape)


def from_npy(data: bytes, event_shape: tuple[int, ...]) -> np.ndarray:
    """A .npy file of (B, *event_shape): uint8 grey levels or floats -> float32 events."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise InvalidArray(f"npy version {version}: accepted are 1.0 and 2.0")
    except (
        ValueError, EOFError, TypeError, SyntaxError, KeyError, IndexError, AttributeError,
        struct.error, tokenize.TokenError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise InvalidArray(f"not an npy file: {error}") from error
    if dtype != np.uint8 and dtype.str[1:] not in _FLOATS:
        raise InvalidArray(f"dtype {dtype}: accepted are uint8, float16, float32 and float64")
    if shape[1:] != event_shape or not shape:
        raise InvalidArray(f"shape {shape}: {_accepted(event_shape)}")
    body = data[file.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise InvalidArray(f"{len(body)} bytes of data do not fit shape {shape} of {dtype}")
    array = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype == np.uint8:
        if len(event_shape) != 3:
            raise InvalidArray("dtype uint8 stands for grey levels, and events are vectors here")
        array = unit(array)
    return _checked(array, event_shape)


def _checked(array: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    """Images lie in [0, 1]; vectors are any finite numbers."""
    if array.shape[1:] != event_shape or len(array) == 0:
        raise InvalidArray(f"shape {array.shape}: {_accepted(event_shape)}")
    with np.errstate(over="ignore"):
        events = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(events).reshape(len(events), -1).all(1)
    if not finite.all():
        raise InvalidArray(f"instance {int(finite.argmin())} holds NaN or infinity")
    if len(event_shape) == 3:
        inside = ((events >= 0) & (events <= 1)).reshape(len(events), -1).all(1)
        if not inside.all():
            raise InvalidArray(
                f"instance {int(inside.argmin())} leaves [0, 1]: "
                "accepted are floats in [0, 1], or grey levels as an npy array of uint8"
            )
    return events


def _accepted(event_shape: tuple[int, ...]) -> str:
    return f"accepted is (number of instances, {', '.join(map(str, event_shape))})"
