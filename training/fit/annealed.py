"""KL annealing: a latent-variable model's bound whose KL counts in full only after a warm-up.

Bowman et al. 2016, "Generating sentences from a continuous space", arXiv:1511.06349, section 3.1;
Sonderby et al. 2016, "Ladder variational autoencoders", arXiv:1602.02282.
"""

import math
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from models.core.bundle import bundle
from models.core.latent.model import LatentModel
from training.data.splits import Split
from training.fit.objective import MeanLoss

Stages = tuple[tuple[int, int], ...]


class Annealed(MeanLoss):
    """Minus the bound with `kl_weight` rising from 0 to 1 over the first `anneal_steps`.

    The look at the validation split is at the model's own loss, the true bound. `stages`, pairs
    (step, K), save time: from that step on the bound takes K latents, and before the first of them
    one; without stages it takes as many as the config says, all the time. The rate falls with the
    latents spent, so that the last and dearest stage is not left without one.
    """

    def __init__(
        self,
        model: LatentModel,
        train: Split,
        seed: int,
        *,
        num_updates: int = 1000,
        batch_size: int = 64,
        rate: float = 1e-3,
        warmup_steps: int = 200,
        anneal_steps: int = 0,
        stages: Stages = (),
        start: str = "",
    ) -> None:
        """`start` is the folder of a bundle whose weights are those to begin with.

        Raises ValueError for stages that do not end at the K of the config, or a start that does
        not fit.
        """
        super().__init__(
            model,
            train,
            seed,
            num_updates=num_updates,
            batch_size=batch_size,
            rate=rate,
            warmup_steps=warmup_steps,
        )
        most = model.config.num_importance_samples
        steps_rise = all(a < b for (a, _), (b, _) in pairwise(stages))
        if stages and (stages[-1][1] != most or not steps_rise):
            raise ValueError(
                f"stages {stages}: accepted are (step, K) of rising steps, the last K {most}"
            )
        if start:
            _begin(model, start)
        self.anneal_steps = anneal_steps
        self.stages = stages
        self._spent = [0, *accumulate(self.num_samples(step) for step in range(num_updates))]

    def losses(self, step: int) -> dict[str, Tensor]:
        x, _ = self.batches.at(step)
        torch.manual_seed(self.seed + step)
        loss = self.model.objective(
            x.to(self.model.device),
            kl_weight=self.kl_weight(step),
            free_bits=self.model.config.free_bits if self.num_samples(step) == 1 else 0.0,
            num_samples=self.num_samples(step),
        )
        return {"loss": loss.mean()}

    def kl_weight(self, step: int) -> float:
        """By which the KL is multiplied."""
        return min(1.0, (step + 1) / self.anneal_steps) if self.anneal_steps else 1.0

    def num_samples(self, step: int) -> int:
        """Latents in the bound."""
        if not self.stages:
            return int(self.model.config.num_importance_samples)
        return max((k for start, k in self.stages if step >= start), default=1)

    def learning_rate(self, step: int) -> float:
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        share = self._spent[min(step, self.num_steps)] / self._spent[-1]
        return self.rate * rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _begin(model: LatentModel, start: str) -> None:
    """Raises ValueError if the bundle's weights are not those of such a model."""
    weights = bundle.load(start).weights
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"start {start!r}: accepted are bundles of like networks") from error
