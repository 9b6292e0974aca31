"""Joint energy-based model: a classifier whose logits are also the energy of the image.

Grathwohl et al. 2020, "Your classifier is secretly an energy based model and you should treat it
like one", arXiv:1912.03263.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.energy.density import EnergyConfig
from models.core.energy.model import EnergyModel
from models.core.nn.conv import class_mask


@dataclass(frozen=True, kw_only=True)
class Config(EnergyConfig):
    """The defaults are a tiny model of three classes."""

    num_classes: int = 3


class Model(EnergyModel):
    """p(x, y) proportional to exp(logits(x)[y]); summed over y it is the density of x (eq. 5)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, num_outputs=config.num_classes)
        self.num_classes = config.num_classes

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """-log p(x) by contrastive divergence plus, given labels, -log p(y given x) (eq. 7).

        Shapes: x (B, C, H, W), y (B,) int64 -> (B,), nats.
        """
        loss = super().loss(x)
        if y is not None:
            loss = loss + torch.nn.functional.cross_entropy(self.logits(x), y, reduction="none")
        return loss

    def operations(self) -> Mapping[str, Operation[Any]]:
        each = (self.num_classes,)
        return {
            **super().operations(),
            "energy": self._one_shot(
                self._energies, columns(energy=(), energies=each), takes_label=True
            ),
            "classify": self._one_shot(
                self._classify, columns(probabilities=each, energy=(), logits=each)
            ),
        }

    def _energies(self, rows: Rows) -> Rows:
        """energy (B,) of the label or, without one, of the image; energies (B, K) per class."""
        logits, _ = self.compute("logits", rows["x"])
        energy = -(logits + class_mask(rows["label"], self.num_classes)).logsumexp(1)
        return {"energy": energy, "energies": -logits}

    def _classify(self, rows: Rows) -> Rows:
        """probabilities (B, K) = softmax of the logits, and the image's energy (B,)."""
        logits, energy = self.compute("logits", rows["x"])
        return {"probabilities": logits.softmax(1), "energy": energy, "logits": logits}
