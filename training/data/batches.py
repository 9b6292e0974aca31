"""Training batches as a pure function of (seed, step), so that a resumed run is the same run."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.data.splits import Split, as_events


class Batches:
    """Endless batches of one split: every image once an epoch, in an order of its own each time."""

    def __init__(self, split: Split, batch_size: int, seed: int, stream: int = 0) -> None:
        self.x = split.x
        self.y = torch.from_numpy(split.y)
        self.batch_size = min(batch_size, len(split))
        self.seed = seed
        self.stream = stream
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Events and labels of a step. -> (B, *event) float32, (B,) int64."""
        per_epoch = len(self.y) // self.batch_size
        epoch, place = divmod(step, per_epoch)
        if epoch != self._epoch:
            rng = random(self.seed, epoch, self.stream)
            self._epoch, self._order = epoch, rng.permutation(len(self.y))
        index = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        return as_events(self.x[index]), self.y[index]


def random(seed: int, step: int, stream: int) -> np.random.Generator:
    """A generator of its own for every (seed, step, stream)."""
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    key = np.array([seed, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Steps(Dataset[int]):
    """What the loader loads: numbers of steps, since the batch is drawn from the step's number."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def __len__(self) -> int:
        return self.num_steps

    def __getitem__(self, index: int) -> int:
        return index
