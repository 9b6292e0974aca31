"""How events become bytes and events again: what a family gives, and what all families share.

One code holds a segment, up to SEGMENT events, which share the coder and so its last byte. A code
as long as the plain levels would be is the plain levels: nothing ever gets longer than that.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from models.core.coding import fixed_point
from models.core.coding.entropy import TOTAL, Reader, Writer
from models.core.coding.tables import cumulative, interval
from models.core.contract.grid import Grid
from models.core.contract.model import Servable
from models.core.contract.rows import Rows
from models.core.distributions.levels import Output

SEGMENT = 16
"""Most events that share one code."""


def backend_id() -> str:
    """Names the arithmetic that codes are made with: another one cannot decode them."""
    return fixed_point.backend_id()


def code_width(model: Servable) -> int:
    """The most bytes that a segment of this model's events takes: the width of column code.

    Raises ValueError if the events are continuous.
    """
    if model.grid is None:
        raise ValueError("continuous events have no code: accepted are models of discrete ones")
    return plain_size(model.grid, model.num_dims * SEGMENT)


def plain_size(grid: Grid, num_levels: int) -> int:
    """Bytes that so many levels take as they are."""
    return -(-num_levels * (grid.num_levels - 1).bit_length() // 8)


def pack(grid: Grid, levels: np.ndarray) -> bytes:
    """Levels as they are, each in as few bits as the largest takes. Shapes: integers (N,)."""
    width = (grid.num_levels - 1).bit_length()
    bits = levels[:, None] >> np.arange(width - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def unpack(grid: Grid, code: bytes, num_levels: int) -> np.ndarray:
    """The inverse of `pack`. Raises ValueError for levels that are not there. -> int64 (N,)."""
    width = (grid.num_levels - 1).bit_length()
    bits = np.unpackbits(np.frombuffer(code, np.uint8), count=num_levels * width)
    levels = (bits.reshape(-1, width).astype(np.int64) << np.arange(width - 1, -1, -1)).sum(1)
    if levels.size and levels.max() >= grid.num_levels:
        raise ValueError(f"level {levels.max()}: accepted are 0 to {grid.num_levels - 1}")
    return levels


class Codec(ABC):
    """A model as a program that an encoder runs whole and a decoder step by step.

    Both must come to the same integer frequencies bit for bit, for each event by itself, whatever
    shares the batch with it.
    """

    num_steps: int
    """Steps that a decoder takes."""
    columns: tuple[str, ...]
    """What a decoder keeps of each event from step to step."""

    @abstractmethod
    def write(self, levels: Tensor, writer: Writer) -> None:
        """Append one segment. Shapes: levels int64 (n, D)."""

    @abstractmethod
    def start(self, num: int) -> Rows:
        """The columns before the first step. -> (num, ...) each."""

    @abstractmethod
    def read(
        self, kept: Rows, levels: Tensor, step: Tensor, readers: Sequence[tuple[Reader, slice]]
    ) -> tuple[Rows, Tensor]:
        """One step: the columns that change, and the levels with some more of them known.

        Each reader has its events, one slice of the rows; all of them are at one step. Shapes:
        columns (N, ...), levels int64 (N, D), step int64 (N,) on the CPU.
        """


class SequentialCodec(Codec):
    """A codec of a model that knows each level's distribution from the levels before it.

    An encoder takes the order in which an event gets shortest, and says which it was.
    """

    columns: tuple[str, ...] = ("order",)

    def __init__(self, output: Output, num_dims: int, num_orders: int = 1) -> None:
        self.output = output
        self.num_steps = num_dims
        self.num_orders = num_orders

    @abstractmethod
    def order(self, index: int) -> Tensor:
        """The dimensions from first to last. -> int64 (D,)."""

    @abstractmethod
    def parallel(self, levels: Tensor, order: int) -> Tensor:
        """All distributions at once, in fixed point. Shapes: int64 (n, D) -> (n, D, P)."""

    @abstractmethod
    def sequential(
        self, kept: Rows, levels: Tensor, step: Tensor, order: Tensor
    ) -> tuple[Tensor, Rows]:
        """Numbers of the distribution at each row's own step, and the columns that change.

        The numbers are bit for bit those of `parallel`. Shapes: int64 (N, D), step and order (N,)
        on the CPU -> (N, P).
        """

    def write(self, levels: Tensor, writer: Writer) -> None:
        intervals = [self._intervals(levels, index) for index in range(self.num_orders)]
        bits = torch.stack([-frequency.log2().sum(1) for _, frequency in intervals])
        best = bits.argmin(0)
        each = torch.arange(len(levels), device=levels.device)
        left, frequency = (torch.stack(parts)[best, each] for parts in zip(*intervals, strict=True))
        if self.num_orders > 1:
            ends = self._order_ends()
            chosen = best.cpu().numpy()
            writer.write(ends[chosen], np.diff(ends)[chosen])
        # The decoder asks for a level of each event in turn.
        writer.write(
            *(part.T.flatten().cpu().numpy().astype(np.int64) for part in (left, frequency))
        )

    def read(
        self, kept: Rows, levels: Tensor, step: Tensor, readers: Sequence[tuple[Reader, slice]]
    ) -> tuple[Rows, Tensor]:
        order = kept["order"].clone()
        if self.num_orders > 1:
            for reader, events in readers:
                if len(order[events]) and int(step[events.start]) == 0:
                    ends = np.tile(self._order_ends(), (events.stop - events.start, 1))
                    order[events] = torch.from_numpy(reader.read(ends))
        params, changed = self.sequential(kept, levels, step, order)
        ends = cumulative(self.output, params).cpu().numpy().astype(np.int64)
        symbols = np.concatenate([reader.read(ends[events]) for reader, events in readers])
        place = self._orders[order, step].to(levels.device)
        level = torch.from_numpy(symbols).to(levels.device)
        return {**changed, "order": order}, levels.scatter(1, place[:, None], level[:, None])

    def start(self, num: int) -> Rows:
        return {"order": torch.zeros(num, dtype=torch.int64)}

    @cached_property
    def _orders(self) -> Tensor:
        return torch.stack([self.order(index) for index in range(self.num_orders)])

    def _order_ends(self) -> np.ndarray:
        return np.arange(self.num_orders + 1) * TOTAL // self.num_orders

    def _intervals(self, levels: Tensor, order: int) -> tuple[Tensor, Tensor]:
        """Left ends and frequencies of the levels, in coding order. -> 2 x (n, D)."""
        left, frequency = interval(self.output, self.parallel(levels, order), levels)
        place = self.order(order).to(levels.device)
        return left[:, place], frequency[:, place]
