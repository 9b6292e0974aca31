"""An energy density as a model: how it is trained, and what it offers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from models.core.contract.columns import Columns, columns
from models.core.contract.one_shot import OneShot
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.energy.density import EnergyDensity
from models.core.energy.features import Features, GradientNorm
from models.core.energy.langevin import Langevin
from models.core.energy.log_likelihood import EnergyLikelihood


class EnergyModel(EnergyDensity):
    """An energy density with its sampler, its likelihood and what screens read of it."""

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Contrastive divergence with chains that start at the data: E(x) - E(chain end).

        Hinton 2002, "Training products of experts by minimizing contrastive divergence".
        Shapes: x (B, C, H, W), y (B,) int64 -> (B,), nats up to the model's constant.
        """
        seed = torch.randint(2**62, (x.shape[0],))
        label = y if y is not None and self.num_classes else torch.full_like(seed, -1)
        sampler = Langevin(self)
        rows = sampler.init(
            {"seed": seed, "x": x, "label": label}, sampler.params(start="data", num_steps=1)
        )
        negative = sampler.step(rows)["x"]
        return self.energy(x, label) - self.energy(negative, label)

    def operations(self) -> Mapping[str, Operation[Any]]:
        return {
            "sample": Langevin(self),
            "log_likelihood": EnergyLikelihood(self),
            "energy": self._one_shot(self._energy_rows, columns(energy=())),
            "features": Features(self),
            "gradient_norm": GradientNorm(self),
        }

    def _one_shot(
        self, forward: Callable[[Rows], Rows], outputs: Columns, takes_label: bool = False
    ) -> OneShot:
        return OneShot(self, forward, outputs=outputs, graphs=("logits",), takes_label=takes_label)

    def _energy_rows(self, rows: Rows) -> Rows:
        _, energy = self.compute("logits", rows["x"])
        return {"energy": energy}
