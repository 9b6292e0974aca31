"""Arrays in: JSON lists and npy bodies become rows, checked before anything is allocated."""

import io
import math
import struct
import tokenize
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from models.core.contract.grid import Grid
from service.errors import InvalidArray

_FLOATS = ("f2", "f4", "f8")


@dataclass(frozen=True)
class ArraySpec:
    """What a model takes as an array: rows of one shape, events in a range or latents in none."""

    shape: tuple[int, ...]
    noun: Literal["instance", "latent"] = "instance"
    grid: Grid | None = None

    @property
    def is_image(self) -> bool:
        """Whether numbers are grey levels."""
        return self.noun == "instance" and len(self.shape) == 3

    @property
    def top(self) -> float | None:
        """The values lie in [0, top]; None if every finite number is accepted."""
        return 1.0 if self.is_image else self.grid.top if self.grid else None

    @property
    def accepted(self) -> str:
        """The shape, in words."""
        return f"accepted is (number of {self.noun}s, {', '.join(map(str, self.shape))})"


def unit(pixels: np.ndarray) -> np.ndarray:
    """Grey levels as events in [0, 1], the same numbers as `to_unit` of the models gives.

    In NumPy, since torch gives the interpreter away at every call, and getting it back from the
    worker's thread takes longer than the arithmetic. Shapes: uint8 (B, ...) -> float32 (B, ...).
    """
    return pixels.astype(np.float32) / np.float32(255)


def from_lists(rows: list[Any], spec: ArraySpec) -> np.ndarray:
    """Nested lists of numbers, one entry per row -> float32 (B, *shape)."""
    if _holds_text(rows):
        raise InvalidArray(f"{spec.noun}s hold other things than numbers: {spec.accepted}")
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise InvalidArray(f"{spec.noun}s are ragged: {spec.accepted}") from error
    if array.dtype.kind not in "if":
        raise InvalidArray(f"{spec.noun}s hold other things than numbers: {spec.accepted}")
    return _checked(array.astype(np.float64), spec)


def _holds_text(rows: list[Any]) -> bool:
    """Whether there is text at any depth: NumPy would give each entry the room of the longest."""
    level: list[Any] = rows
    while level:
        if str in set(map(type, level)):
            return True
        level = list(chain.from_iterable(part for part in level if type(part) is list))
    return False


def from_npy(data: bytes, spec: ArraySpec) -> np.ndarray:
    """A .npy file of (B, *shape): floats, or uint8 grey levels or counts -> float32 rows."""
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
    if any(type(size) is not int for size in shape):  # a header may say True, which equals 1
        raise InvalidArray(f"shape {shape}: {spec.accepted}")
    if shape[1:] != spec.shape or not shape:
        raise InvalidArray(f"shape {shape}: {spec.accepted}")
    body = data[file.tell() :]
    if len(body) != math.prod(shape) * dtype.itemsize:
        raise InvalidArray(f"{len(body)} bytes of data do not fit shape {shape} of {dtype}")
    array = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    if dtype == np.uint8 and spec.is_image:
        array = unit(array)
    elif dtype == np.uint8 and spec.top is None:
        raise InvalidArray("dtype uint8 stands for grey levels or counts: accepted are floats")
    return _checked(array, spec)


def _checked(array: np.ndarray, spec: ArraySpec) -> np.ndarray:
    """Shape, finiteness and range. Raises InvalidArray, naming the first row that is wrong."""
    if array.shape[1:] != spec.shape or len(array) == 0:
        raise InvalidArray(f"shape {array.shape}: {spec.accepted}")
    with np.errstate(over="ignore"):
        rows = np.array(array, dtype=np.float32, order="C")
    finite = np.isfinite(rows).reshape(len(rows), -1).all(1)
    if not finite.all():
        raise InvalidArray(f"{spec.noun} {int(finite.argmin())} holds NaN or infinity")
    if spec.top is not None:
        inside = ((rows >= 0) & (rows <= spec.top)).reshape(len(rows), -1).all(1)
        if not inside.all():
            accepted = (
                "floats in [0, 1], or grey levels as an npy array of uint8"
                if spec.is_image
                else f"whole numbers from 0 to {spec.top:g}"
            )
            raise InvalidArray(
                f"{spec.noun} {int(inside.argmin())} leaves [0, {spec.top:g}]: "
                f"accepted are {accepted}"
            )
    return rows
