"""What one optimiser step minimises: the seam between the training loop and a family's recipe."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.core.contract.model import GenerativeModel
from training.data.batches import Batches
from training.data.splits import Split


class Objective(ABC):
    """A loss that may keep state of its own, such as a replay buffer.

    Built anew for a restart: `seed` differs then, and `load_state` brings back the rest.
    """

    num_steps: int
    """Optimiser steps of the whole run."""

    phase_ends: tuple[int, ...] = ()
    """Steps at which phases end whose steps take unlike times, the last being all; empty: one."""

    validates: bool = False
    """Whether the model's own loss on the validation split says which weights are best."""

    sees_data: bool = True
    """Whether anything of the model comes from the train split."""

    def __init__(self, model: Any, train: Split, seed: int) -> None:
        self.model: Any = model
        self.train = train
        self.seed = seed

    @classmethod
    def note(cls, settings: Mapping[str, Any]) -> str:  # noqa: ARG003, most have nothing to say
        """What a card must say of a training with these settings beside its data; "": nothing."""
        return ""

    @abstractmethod
    def losses(self, step: int) -> dict[str, Tensor]:
        """The scalar "loss" of a step, in nats, and whatever else the progress bar should show."""

    def diverged(self, losses: Mapping[str, Tensor]) -> bool:
        """Whether the losses of a step say that the run is lost."""
        return not bool(losses["loss"].isfinite())

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
    """The mean of the model's own loss, for families that need nothing more.

    The rate rises over `warmup_steps` and falls along a cosine to a hundredth of its height.
    """

    validates = True

    def __init__(
        self,
        model: GenerativeModel,
        train: Split,
        seed: int,
        *,
        num_updates: int = 1000,
        batch_size: int = 64,
        rate: float = 1e-3,
        warmup_steps: int = 200,
    ) -> None:
        super().__init__(model, train, seed)
        self.num_steps = num_updates
        self.rate = rate
        self.warmup_steps = warmup_steps
        self.batches = Batches(train, batch_size, seed)

    def losses(self, step: int) -> dict[str, Tensor]:
        x, y = self.batches.at(step)
        device = self.model.device
        torch.manual_seed(self.seed + step)
        return {"loss": self.model.loss(x.to(device), y.to(device)).mean()}

    def learning_rate(self, step: int) -> float:
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.num_steps)))
        return self.rate * rise * (0.01 + 0.99 * fall)
