"""An integer flow's latents as symbols, part by part, each given the parts before it.

A latent may be any integer. Its mixture of logistics is cut into blocks around its mean, and what
lies beyond the last block escapes: the block is coded, then the place inside it, or how far the
escape goes. So a decoder tables two short distributions instead of a long one.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from models.core.coding.codec import Codec
from models.core.coding.entropy import TOTAL, Reader, Writer
from models.core.coding.exact_twin import exact
from models.core.coding.fixed_point import ONE, SPAN, exp, sigmoid, to_fixed_point
from models.core.coding.tables import mixture_weights, scaled
from models.core.contract.rows import Rows
from models.core.integer.prior import LEAST_LOG_SCALE, RARE, component_means

_BLOCK, _NUM_BLOCKS = 32, 32
_NARROWEST = 54.59815003314424
"""exp(-LEAST_LOG_SCALE), the largest inverse of a scale."""
_ESCAPE_BYTES = 3
_BYTE_ENDS = np.arange(257) * (TOTAL // 256)


class _Mixture(NamedTuple):
    """A logistic mixture for every latent; tensors have the latents' shape, and K components."""

    weight: Tensor
    """Weights as whole numbers."""
    mean: Tensor
    """Means of the logistics, in levels and in fixed point."""
    inverse: Tensor
    """One over each scale, in levels."""

    def below(self, border: Tensor) -> Tensor:
        """Mass below borders, whole numbers. Shapes: latents and (..., N) -> (..., N)."""
        mean, inverse, weight = (part.unsqueeze(-2) for part in self._each())
        t = ((border.unsqueeze(-1) - mean) * inverse).clamp(-SPAN, SPAN)
        return (weight * sigmoid(t)).sum(-1)

    def _each(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.mean, self.inverse, self.weight

    def first(self) -> Tensor:
        """The least integer of the first block. -> whole numbers, of the latents' shape."""
        total = (self.weight * self.mean).sum(-1)
        return (total / self.weight.sum(-1)).round() - _BLOCK * _NUM_BLOCKS // 2

    def blocks(self) -> Tensor:
        """Ends of the symbols: below all blocks, each of them, above. -> (..., blocks + 3)."""
        places = torch.arange(_NUM_BLOCKS + 1, device=self.mean.device) * _BLOCK - 0.5
        below = self.below(self.first().unsqueeze(-1) + places)
        # Sigmoids of all borders sum to at most what the weights do.
        return _ends(below / self.below(torch.full_like(below[..., :1], torch.inf)))

    def inside(self, block: Tensor) -> Tensor:
        """Ends of the places in one block of each latent. -> (..., _BLOCK + 1)."""
        places = torch.arange(_BLOCK + 1, device=self.mean.device) - 0.5
        below = self.below((self.first() + _BLOCK * block).unsqueeze(-1) + places)
        mass = below - below[..., :1]
        empty = mass[..., -1:] == 0
        # Where the table knows no mass at all, all places are alike.
        share = torch.where(empty, (places + 0.5) / _BLOCK, mass / mass[..., -1:].clamp(min=1))
        return _ends(share[..., 1:-1])


class IntegerCodec(Codec):
    """The codec of a flow with `latents`, `start`, `priors` and `join`: one part of z a step.

    Column known (N, D) holds what the next part is given, in its first places.
    """

    columns = ("known",)

    def __init__(self, model: Any) -> None:
        self.model = model
        self.num_steps = model.num_parts

    @cached_property
    def _twin(self) -> Any:
        return exact(self.model)

    @cached_property
    def _shapes(self) -> list[torch.Size]:
        """The shape of what each part is given, without the batch."""
        shapes, known = [], self._twin.start(1)
        for index in range(self.num_steps):
            shapes.append(known.shape[1:])
            known = self._twin.join(index, known, self._nothing(index))
        return shapes

    def _nothing(self, index: int) -> Tensor:
        return self._twin.start(1).new_zeros(1, *self.model.part_shape(index))

    def write(self, levels: Tensor, writer: Writer) -> None:
        """Raises OverflowError for latents that escape too far."""
        x = levels.double().unflatten(1, self.model.event_shape)
        for index, (z, given) in enumerate(self._twin.latents(x)):
            mixture = self._mixture(index, given)
            distance = z - mixture.first()
            block = (distance / _BLOCK).floor().clamp(-1, _NUM_BLOCKS)
            _write(writer, mixture.blocks(), block + 1)
            inner = (block >= 0) & (block < _NUM_BLOCKS)
            inside = mixture.inside(block)
            _write(writer, inside[inner], (distance - _BLOCK * block)[inner])
            far = torch.where(distance < 0, -1 - distance, distance - _BLOCK * _NUM_BLOCKS)[~inner]
            if far.numel() and float(far.max()) >= 256**_ESCAPE_BYTES:
                raise OverflowError("a latent is too far from its mean")
            for shift in range(_ESCAPE_BYTES):
                digit = (far.long() >> 8 * shift) & 255
                _write(writer, _bytes(len(far)), digit)

    def start(self, num: int) -> Rows:
        return {"known": self._twin.start(num).new_zeros(num, self.model.num_dims)}

    def read(
        self, kept: Rows, levels: Tensor, step: Tensor, readers: Sequence[tuple[Reader, slice]]
    ) -> tuple[Rows, Tensor]:
        known, levels = kept["known"].clone(), levels.clone()
        for index in step.unique().tolist():
            some = [pair for pair in readers if int(step[pair[1].start]) == index]
            here = torch.cat([torch.arange(s.start, s.stop) for _, s in some]).to(known.device)
            shape = self._shapes[index]
            given = known[here, : shape.numel()].view(len(here), *shape)
            sizes = [s.stop - s.start for _, s in some]
            z = self._part([reader for reader, _ in some], sizes, self._mixture(index, given))
            joined = self._twin.join(index, given, z)
            if index + 1 < self.num_steps:
                known[here] = 0.0
                known[here, : joined[0].numel()] = joined.flatten(1)
            else:
                most = self.model.grid.num_levels - 1
                levels[here] = joined.flatten(1).clamp(0, most).long()
        return {"known": known}, levels

    def _part(self, readers: Sequence[Reader], sizes: list[int], mixture: _Mixture) -> Tensor:
        """The latents of one part, of all readers' events. -> whole numbers (N, c, h, w)."""
        counts = [size * mixture.weight[0, ..., 0].numel() for size in sizes]
        block = _read(readers, counts, mixture.blocks()) - 1
        inner = (block >= 0) & (block < _NUM_BLOCKS)
        inners = [int(part.sum()) for part in inner.flatten().split(counts)]
        outers = [count - num for count, num in zip(counts, inners, strict=True)]
        last = float(_BLOCK * _NUM_BLOCKS)
        distance = torch.full_like(block, last).masked_fill(block < 0, -1.0)
        inside = mixture.inside(block)[inner]
        distance[inner] = (_BLOCK * block)[inner] + _read(readers, inners, inside)
        far = distance.new_zeros(sum(outers))
        for shift in range(_ESCAPE_BYTES):
            far = far + _read(readers, outers, _bytes(len(far))) * 256**shift
        distance[~inner] += torch.where(block < 0, -1.0, 1.0)[~inner] * far
        return mixture.first() + distance

    def _mixture(self, index: int, given: Tensor) -> _Mixture:
        """The distribution of part `index`: `integer_mixture` in fixed point."""
        unit, num_channels = self.model.unit, self.model.part_shape(index)[0]
        params = self._twin.priors[index](given / unit)
        parts = params.unflatten(1, (3, -1, num_channels)).movedim(2, -1).unbind(1)
        logit, mean, log_scale = parts
        num = logit.shape[-1]
        mean = to_fixed_point(component_means(mean, unit))
        least, most = LEAST_LOG_SCALE, math.log(8 * unit)
        start = min(max((math.log(unit / num) - least) / (most - least), 0.1), 0.9)
        bounded = sigmoid(log_scale + math.log(start / (1 - start))) / ONE
        inverse = exp(-to_fixed_point((most - least) * bounded)) * (_NARROWEST / ONE)
        weight = mixture_weights(logit)
        rare = (weight.sum(-1, keepdim=True) * (RARE / (1 - RARE))).floor()
        return _Mixture(
            torch.cat([weight, rare], -1),
            pad(mean, (0, 1), value=unit),
            pad(inverse, (0, 1), value=2 / unit),
        )


def _ends(share: Tensor) -> Tensor:
    """Ends of symbols from the share below each inner end. Shapes: (..., N) -> (..., N + 2)."""
    num = torch.arange(1, share.shape[-1] + 1, device=share.device)
    inner = scaled(share, num, share.shape[-1] + 1)
    first = inner.new_zeros(*inner.shape[:-1], 1)
    return torch.cat([first, inner, first + TOTAL], -1)


def _bytes(num: int) -> Tensor:
    return torch.from_numpy(_BYTE_ENDS).expand(num, -1)


def _write(writer: Writer, ends: Tensor, symbol: Tensor) -> None:
    """Shapes: (..., K + 1), whole numbers (...)."""
    table = ends.cpu().numpy().reshape(-1, ends.shape[-1]).astype(np.int64)
    chosen = symbol.cpu().numpy().reshape(-1).astype(np.int64)
    if len(chosen):
        each = np.arange(len(chosen))
        writer.write(table[each, chosen], table[each, chosen + 1] - table[each, chosen])


def _read(readers: Sequence[Reader], counts: list[int], ends: Tensor) -> Tensor:
    """Each reader's next symbols, as many as it has tables. -> float64, the shape of the tables."""
    table = ends.cpu().numpy().reshape(-1, ends.shape[-1]).astype(np.int64)
    parts = np.split(table, np.cumsum(counts)[:-1])
    read = [reader.read(part) for reader, part in zip(readers, parts, strict=True) if len(part)]
    symbols = np.concatenate(read) if read else np.zeros(0, np.int64)
    return torch.from_numpy(symbols).double().to(ends.device).view(ends.shape[:-1])
