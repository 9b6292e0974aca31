"""Between events and the segments that models code: columns of rows, and checks of their bytes."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from models.core.coding.codec import plain_size, unpack
from models.core.contract.grid import Grid
from models.core.contract.rows import Rows
from service.errors import DamagedStream
from service.media.grid import pixels_of
from service.media.stream import IMAGES_PER_SEGMENT, Stream, num_segments


class Events(Protocol):
    """What a model's events are."""

    @property
    def event_shape(self) -> tuple[int, ...]: ...
    @property
    def grid(self) -> Grid | None: ...
    @property
    def num_dims(self) -> int: ...


def grid_of(model: Events) -> Grid:
    """The values of a model that compresses: only discrete ones can."""
    assert model.grid is not None
    return model.grid


def full_columns(x: Tensor) -> Rows:
    """Events as segments, zeros behind the last one. Shapes: (N, *event) -> rows of segments."""
    num = num_segments(len(x))
    padded = x.new_zeros(num * IMAGES_PER_SEGMENT, *x.shape[1:])
    padded[: len(x)] = x
    return {
        "x": padded.unflatten(0, (num, IMAGES_PER_SEGMENT)),
        "num_images": torch.tensor(_counts(len(x))),
    }


def codes_of(rows: Rows) -> tuple[bytes, ...]:
    """The codes of the columns code and num_bytes, each as long as it is."""
    codes = rows["code"].numpy()
    sizes = rows["num_bytes"].tolist()
    return tuple(code[:size].tobytes() for code, size in zip(codes, sizes, strict=True))


def coded_columns(stream: Stream, model: Events) -> Rows:
    """The codes of a stream as a table. Raises DamagedStream for what no model has written."""
    grid, counts = grid_of(model), _counts(stream.num_images)
    if stream.event_shape != model.event_shape or stream.num_levels != grid.num_levels:
        raise DamagedStream(
            f"it holds events of {stream.event_shape} with {stream.num_levels} levels, "
            f"the model's are of {model.event_shape} with {grid.num_levels}"
        )
    for segment, count in zip(stream.segments, counts, strict=True):
        _check(segment, count * model.num_dims, grid)
    code = np.zeros((len(counts), plain_size(grid, model.num_dims * IMAGES_PER_SEGMENT)), np.uint8)
    for row, segment in zip(code, stream.segments, strict=True):
        row[: len(segment)] = np.frombuffer(segment, np.uint8)
    return {
        "code": torch.from_numpy(code),
        "num_bytes": torch.tensor([len(segment) for segment in stream.segments]),
        "num_images": torch.tensor(counts),
    }


def _check(segment: bytes, num_levels: int, grid: Grid) -> None:
    """What a decoder would refuse is refused here, where it is the sender's mistake."""
    most = plain_size(grid, num_levels)
    if len(segment) > most:
        raise DamagedStream(f"a segment has {len(segment)} bytes: accepted are at most {most}")
    if len(segment) == most:
        try:
            unpack(grid, segment, num_levels)
        except ValueError as error:
            raise DamagedStream(str(error)) from error


def whole_events(x: Tensor, num: int, model: Events) -> np.ndarray:
    """The events of segments as they were sent: uint8 pixels of images, else float32 counts.

    Shapes: (B, IMAGES_PER_SEGMENT, *event) -> (num, *event).
    """
    x = x.flatten(0, 1)[:num]
    if len(model.event_shape) < 3:
        rows: np.ndarray = x.numpy()
        return rows
    grid = grid_of(model)
    return pixels_of(grid.levels(x).numpy(), grid.num_levels)


def raw_bytes(num: int, model: Events) -> int:
    """What so many events take without compression, each value in as few bits as hold it."""
    return plain_size(grid_of(model), num * model.num_dims)


def _counts(num: int) -> list[int]:
    """Events of each segment."""
    whole, rest = divmod(num, IMAGES_PER_SEGMENT)
    return [IMAGES_PER_SEGMENT] * whole + [rest] * (rest > 0)
