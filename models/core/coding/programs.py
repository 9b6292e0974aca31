"""Lossless compression as operations: a row is a segment of up to SEGMENT events.

Compressing is one step, a pass of the network over whole events. Decompressing is as many steps
as the family's codec has, and `preview` shows what is known so far.
"""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.core.coding.codec import SEGMENT, Codec, code_width, pack, plain_size, unpack
from models.core.coding.entropy import Position, Reader, Writer, words_of
from models.core.contract.columns import Column, columns
from models.core.contract.grid import Grid
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds, uniform
from models.core.contract.operation import NoParams, Operation
from models.core.contract.rows import Rows


def compression(model: GenerativeModel, codec: Codec) -> Mapping[str, Operation[Any]]:
    """The two operations by their names."""
    return {"compress": Compress(model, codec), "decompress": Decompress(model, codec)}


class _Coding(Operation[NoParams]):
    """What compress and decompress have in common. Raises ValueError for continuous events."""

    needs_events = False
    needs: tuple[str, ...]
    """The input columns."""

    def __init__(self, model: GenerativeModel, codec: Codec) -> None:
        self.model = model
        self.codec = codec
        self.width = code_width(model)

    @property
    def grid(self) -> Grid:
        assert self.model.grid is not None
        return self.model.grid

    def check(self, inputs: Container[str], params: NoParams) -> None:
        super().check(inputs, params)
        if not all(name in inputs for name in self.needs):
            raise ValueError(f"accepted are the columns {', '.join(self.needs)}")

    def _counts(self, inputs: Rows) -> Tensor:
        """How many events each segment has, on the CPU. Raises ValueError if none or too many."""
        counts = inputs["num_images"].cpu()
        if bool(((counts < 1) | (counts > SEGMENT)).any()):
            raise ValueError(f"num_images: accepted are 1 to {SEGMENT}")
        return counts

    def _made_up(self, num: int, seed: int) -> Rows:
        """Segments of every size, first a full one; speckles on one level, none to everywhere."""
        seeds = row_seeds(seed, num)
        first = torch.zeros_like(seeds)
        shape = (SEGMENT, *self.model.event_shape)
        u, v = (uniform(seeds, first, shape, stream) for stream in (0, 1))
        places = (torch.arange(num) + seed) % SEGMENT
        density = (places % 4).view(-1, *[1] * len(shape)) / 3
        x = torch.where(u < density, v * self.grid.top, 0.0)
        counts = SEGMENT - 5 * places % SEGMENT
        return {"x": self.grid.values(self.grid.levels(x)), "num_images": counts}

    def _plain(self, num_images: int) -> int:
        return plain_size(self.grid, self.model.num_dims * num_images)


class Compress(_Coding):
    """Events to bytes. Input columns x (B, SEGMENT, *event) and num_images (B,) int64."""

    needs = ("x", "num_images")

    def __init__(self, model: GenerativeModel, codec: Codec) -> None:
        super().__init__(model, codec)
        self.outputs = {
            "code": Column((self.width,), torch.uint8),
            "num_bytes": Column(dtype=torch.int64),
        }

    def own_inputs(self, num: int, seed: int = 0) -> Rows:
        return self._made_up(num, seed)

    def preview(self, rows: Rows) -> None:
        return None

    def num_steps(self, params: NoParams) -> int:
        return 1

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        return {"x": inputs["x"].to(self.model.device), "num_images": self._counts(inputs)}

    def step(self, rows: Rows) -> Rows:
        """Columns code (B, W) uint8, with zeros at the end, and num_bytes (B,)."""
        levels = self.grid.levels(rows["x"]).flatten(2)
        counts = rows["num_images"].tolist()
        codes = [self._code(row[:num]) for row, num in zip(levels, counts, strict=True)]
        padded = b"".join(code.ljust(self.width, b"\0") for code in codes)
        code = torch.from_numpy(np.frombuffer(padded, np.uint8).reshape(-1, self.width).copy())
        return {**rows, "code": code, "num_bytes": torch.tensor([len(code) for code in codes])}

    def finish(self, rows: Rows) -> Rows:
        return {"code": rows["code"], "num_bytes": rows["num_bytes"]}

    def _code(self, levels: Tensor) -> bytes:
        """The code of one segment. Shapes: int64 (n, D)."""
        writer = Writer()
        try:
            self.codec.write(levels, writer)
            code = writer.finish()
            if len(code) < self._plain(len(levels)):
                return code
        except OverflowError:  # the codec has no symbol for these
            pass
        return pack(self.grid, levels.flatten().cpu().numpy())


class Decompress(_Coding):
    """Bytes to events. Input columns code (B, W) uint8, num_bytes (B,) and num_images (B,) int64.

    Any bytes decode to some events: whoever keeps them must know by a checksum that they are whole.
    """

    needs = ("code", "num_bytes", "num_images")

    def __init__(self, model: GenerativeModel, codec: Codec) -> None:
        super().__init__(model, codec)
        self.outputs = columns(x=(SEGMENT, *model.event_shape))

    def own_inputs(self, num: int, seed: int = 0) -> Rows:
        """Random bytes in every other row, plain levels in the others.

        The first row is what a step is timed with, and plain levels cost nothing to read.
        """
        made_up = self._made_up(num, seed)
        seeds = row_seeds(seed, num)
        code = uniform(seeds, torch.ones_like(seeds), (self.width,)).mul(256).to(torch.uint8)
        levels = self.grid.levels(made_up["x"]).flatten(1).numpy()
        sizes = [self._plain(count) for count in made_up["num_images"].tolist()]
        for i, size in enumerate(sizes):
            if (i + seed) % 2 == 0:
                sizes[i] = size - 1
            else:
                plain = np.frombuffer(pack(self.grid, levels[i]), np.uint8)
                code[i, :size] = torch.from_numpy(plain[:size].copy())
            code[i, sizes[i] :] = 0
        return {"code": code, "num_bytes": torch.tensor(sizes), "num_images": made_up["num_images"]}

    def num_steps(self, params: NoParams) -> int:
        return self.codec.num_steps

    def init(self, inputs: Rows, params: NoParams) -> Rows:
        """Raises ValueError for lengths that no code has, and plain levels that are none."""
        counts, sizes = self._counts(inputs), inputs["num_bytes"].cpu()
        code = inputs["code"].cpu().numpy()
        num, device = len(counts), self.model.device
        if code.shape != (num, self.width) or code.dtype != np.uint8:
            raise ValueError(f"code: accepted are {self.width} bytes a row")
        levels = torch.zeros(num, SEGMENT, self.model.num_dims, dtype=torch.int64)
        plain = torch.zeros(num, dtype=torch.bool)
        kept_code = np.zeros_like(code)
        for i, (count, size) in enumerate(zip(counts.tolist(), sizes.tolist(), strict=True)):
            most = self._plain(count)
            if not 0 <= size <= most:
                raise ValueError(f"num_bytes {size}: accepted are 0 to {most} of {count} images")
            kept_code[i, :size] = code[i, :size]
            if size == most:
                unpacked = unpack(self.grid, code[i, :size].tobytes(), count * self.model.num_dims)
                levels[i, :count] = torch.from_numpy(unpacked).view(count, -1)
                plain[i] = True
        kept = self.codec.start(num * SEGMENT)
        return {
            "step": torch.zeros(num, dtype=torch.int64),
            "num_images": counts,
            "plain": plain,
            "words": torch.from_numpy(words_of(kept_code).view(np.int32)),
            "position": _columns([Position()] * num),
            "levels": levels.to(device),
            **{name: column.unflatten(0, (num, SEGMENT)) for name, column in kept.items()},
        }

    def step(self, rows: Rows) -> Rows:
        """Each segment at its own step. Columns position (B, 3), words (B, N), kept ones."""
        advanced = {**rows, "step": rows["step"] + 1}
        counts = torch.where(rows["plain"], 0, rows["num_images"])
        if not bool(counts.any()):
            return advanced
        # Which of all B x SEGMENT events there are; None for all of them, which are then views.
        some = (torch.arange(SEGMENT) < counts[:, None]).flatten()
        chosen = None if bool(some.all()) else some.nonzero()[:, 0]
        readers, ends = self._readers(rows), counts.cumsum(0).tolist()
        slices = [slice(end - num, end) for end, num in zip(ends, counts.tolist(), strict=True)]
        used = [pair for pair in zip(readers, slices, strict=True) if pair[1].start < pair[1].stop]
        kept = {name: _taken(rows[name], chosen) for name in self.codec.columns}
        step = _taken(rows["step"][:, None].expand(-1, SEGMENT), chosen)
        changed, levels = self.codec.read(kept, _taken(rows["levels"], chosen), step, used)
        return {
            **advanced,
            "position": _columns([reader.position for reader in readers]),
            **{
                name: _put(rows[name], chosen, column)
                for name, column in {**changed, "levels": levels}.items()
            },
        }

    def preview(self, rows: Rows) -> Tensor:
        """What is known so far, and level 0 elsewhere. -> (B, SEGMENT, *event)."""
        return self.grid.values(rows["levels"]).unflatten(2, self.model.event_shape)

    def finish(self, rows: Rows) -> Rows:
        return {"x": self.preview(rows)}

    def _readers(self, rows: Rows) -> list[Reader]:
        words = rows["words"].numpy().view(np.uint32)
        positions = rows["position"].numpy().view(np.uint64).tolist()
        return [Reader(w, Position(*p)) for w, p in zip(words, positions, strict=True)]


def _columns(positions: list[Position]) -> Tensor:
    """Positions as 3 words of 64 bits, int64 since torch can do little with uint64. -> (B, 3)."""
    return torch.from_numpy(np.array(positions, dtype=np.uint64).view(np.int64))


def _taken(column: Tensor, chosen: Tensor | None) -> Tensor:
    """Events of all segments behind one another. Shapes: (B, SEGMENT, ...) -> (N, ...)."""
    flat = column.flatten(0, 1)
    return flat if chosen is None else flat[chosen.to(flat.device)]


def _put(column: Tensor, chosen: Tensor | None, events: Tensor) -> Tensor:
    """The column with these events in place of the chosen ones."""
    if chosen is None:
        return events.view_as(column)
    flat = column.flatten(0, 1)
    return flat.index_copy(0, chosen.to(flat.device), events).view_as(column)
