"""Random numbers as a pure function of (seed, step): no generator to carry, save or lose.

Counter-based Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), drawn on
the CPU so that every device gets the same numbers. torch's CPU generator would use only the low 32
bits of a seed.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def row_seeds(seed: int, num_rows: int) -> Tensor:
    """A seed per sample; sample i does not depend on num_rows. -> (num_rows,) int64, >= 0."""
    state = np.random.SeedSequence(seed).generate_state(num_rows, np.uint64)
    return torch.from_numpy((state >> np.uint64(1)).astype(np.int64))


def request_seeds(seed: int, num_rows: int, *, shared: bool) -> Tensor:
    """The column seed of a request: its own seed for all rows, if an operation shares it, or else
    one a row. -> (num_rows,) int64, >= 0.

    The one rule for requests over HTTP and for what is calibrated and measured offline.
    """
    if shared:
        return torch.from_numpy(np.full(num_rows, seed, dtype=np.int64))
    return row_seeds(seed, num_rows)


def event_seeds(seed: Tensor, x: Tensor) -> Tensor:
    """A seed per event that depends on nothing but `seed` and the event itself.

    Shapes: seed (B,) int64, x (B, ...) -> (B,) int64, >= 0, on the CPU.
    """
    events = x.detach().cpu().contiguous().numpy()
    seeds = []
    for row_seed, event in zip(seed.tolist(), events, strict=True):
        salt = row_seed.to_bytes(8, "little")
        digest = hashlib.blake2b(event.tobytes(), digest_size=8, salt=salt)
        seeds.append(int.from_bytes(digest.digest(), "little") >> 1)
    return torch.tensor(seeds, dtype=torch.int64)


def normal(seed: Tensor, step: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Standard normal noise. Shapes: seed (B,), step (B,), both int64 on the CPU -> (B, *shape).

    Draws that share (seed, step) must differ in `stream`, or they are the same numbers.
    """
    return _stack(seed, step, stream, lambda rng: rng.standard_normal(shape, np.float32))


def uniform(seed: Tensor, step: Tensor, shape: tuple[int, ...], stream: int = 0) -> Tensor:
    """Noise uniform on [0, 1). Shapes and streams as in `normal`."""
    return _stack(seed, step, stream, lambda rng: rng.random(shape, np.float32))


def _stack(
    seed: Tensor, step: Tensor, stream: int, draw: Callable[[np.random.Generator], np.ndarray]
) -> Tensor:
    keys = torch.stack([seed, step], dim=1).numpy().astype(np.int64).view(np.uint64)
    # The counter's top word separates streams: Philox advances the low words only.
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    rows = [draw(np.random.Generator(np.random.Philox(key=key, counter=counter))) for key in keys]
    return torch.from_numpy(np.stack([np.asarray(row) for row in rows]))
