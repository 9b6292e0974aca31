"""What one optimiser step minimises: the seam between the training loop and a family's recipe."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from models.core.model import GenerativeModel
from training.batches import Batches
from training.data import Split


class Objective(ABC):
    """A loss that may keep state of its own, such as a replay buffer.

    Built anew for a restart: `seed` differs then, and `load_state` brings back the rest.
    """

    num_steps: int
    """Optimiser steps of the whole run."""

    def __init__(self, model: Any, train: Split, seed: int) -> None:
        self.model: Any = model
        self.train = train
        self.seed = seed

    @abstractmethod
    def losses(self, step: int) -> dict[str, Tensor]:
        """The scalar "loss" of a step, in nats, and whatever else the progress bar should show."""

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """Adam's step size at a step."""

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs besides weights and optimiser."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""
        assert not state, "an objective with a state must say how to load it"

    def finish(self) -> None:
        """Leave in the model what serving needs from training, such as persistent chains."""
        return


class MeanLoss(Objective):
    """The mean of the model's own loss, for families that need nothing more."""

    def __init__(
        self,
        model: GenerativeModel,
        train: Split,
        seed: int,
        *,
        num_steps: int = 1000,
        batch_size: int = 64,
        rate: float = 1e-3,
    ) -> None:
        super().__init__(model, train, seed)
        self.num_steps = num_steps
        self.rate = rate
        self.batches = Batches(train, batch_size, seed)

    def losses(self, step: int) -> dict[str, Tensor]:
        x, y = self.batches.at(step)
        torch.manual_seed(self.seed + step)
        return {"loss": self.model.loss(x, y).mean()}

    def learning_rate(self, step: int) -> float:
        return self.rate
