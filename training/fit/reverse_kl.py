"""Reverse KL: a flow fitted to a density that is known up to its constant, without any data.

Rezende and Mohamed 2015, arXiv:1505.05770, section 6; Papamakarios et al. 2021,
"Normalizing flows for probabilistic modeling and inference", arXiv:1912.02762, section 2.3.2.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.core.bundle import bundle
from models.core.distributions.targets import TARGETS
from models.core.energy.model import EnergyModel
from models.core.flow.model import FlowModel
from training.data.splits import Split
from training.fit.objective import Objective

_MOST_MARGIN = 1e-3

LogTarget = Callable[[Tensor], Tensor]
"""log p(x) up to its constant. Shapes: (B, *event) -> (B,), nats."""


def drawn(model: FlowModel, z: Tensor) -> tuple[Tensor, Tensor]:
    """Events from base noise, and their log density log q(x) = log p_base(z) - log abs det dx/dz.

    Shapes: z (B, D) -> (B, *event), (B,) nats.
    """
    x, log_abs_det = model.flow.inverse(z)
    return x, model.base.log_prob(z) - log_abs_det


def log_target(name: str) -> LogTarget:
    """The target of that name, or minus the energy of the model in a bundle's folder.

    Raises ValueError if it is neither, or the bundle is no energy model.
    """
    if name in TARGETS:
        return TARGETS[name].log_prob
    if not (Path(name) / "bundle.json").is_file():
        raise ValueError(
            f"target {name!r}: accepted are {', '.join(TARGETS)} and folders of bundles"
        )
    model = bundle.load(name).build()
    if not isinstance(model, EnergyModel):
        raise ValueError(f"target {name!r}: accepted are bundles of energy models")
    return lambda x: -model.to(x.device).energy(x)


class ReverseKL(Objective):
    """The mean of log q(x) - log p~(x) over samples x of the flow: KL(q || p) - log Z, in nats.

    The data are not looked at. Over the first `anneal_steps` the target is flatter, p~ to the power
    of 0.01 up to 1 (equation 20), so that the flow does not settle in one mode.
    """

    sees_data = False

    def __init__(
        self,
        model: FlowModel,
        train: Split,
        seed: int,
        *,
        target: str = "potential-1",
        num_updates: int = 1000,
        batch_size: int = 256,
        rate: float = 1e-3,
        warmup_steps: int = 100,
        anneal_steps: int = 0,
    ) -> None:
        """Raises ValueError for an unknown target, or one of other events than the flow's."""
        super().__init__(model, train, seed)
        self.log_target = log_target(target)
        if target in TARGETS and model.event_shape != (2,):
            raise ValueError(f"event_shape {model.event_shape}: {target} accepts (2,)")
        # An energy is known on [0, 1] alone, and the margin lets the flow go beyond.
        if target not in TARGETS and not 0 < model.config.logit_margin <= _MOST_MARGIN:
            raise ValueError(
                f"logit_margin {model.config.logit_margin}: of an energy, accepted are margins "
                f"above 0 and up to {_MOST_MARGIN}"
            )
        self.num_steps = num_updates
        self.batch_size = batch_size
        self.rate = rate
        self.warmup_steps = warmup_steps
        self.anneal_steps = anneal_steps

    def losses(self, step: int) -> dict[str, Tensor]:
        torch.manual_seed(self.seed + step)
        normal = torch.randn(self.batch_size, self.model.num_dims)
        z = self.model.base.from_normal(normal).to(self.model.device)
        x, log_q = drawn(self.model, z)
        log_p = self.log_target(x)
        return {
            "loss": (log_q - self.power(step) * log_p).mean(),
            "reverse_kl_up_to_log_z": (log_q - log_p).detach().mean(),
        }

    def power(self, step: int) -> float:
        """To which the target is taken."""
        return min(1.0, 0.01 + step / self.anneal_steps) if self.anneal_steps else 1.0

    def learning_rate(self, step: int) -> float:
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.num_steps)))
        return self.rate * rise * (0.01 + 0.99 * fall)
