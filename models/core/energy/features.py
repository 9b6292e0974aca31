"""What the network of an energy model says of an image beside its energy: features and slopes."""

import torch

from models.core.contract.columns import columns
from models.core.contract.one_shot import OneShot
from models.core.contract.rows import Rows, num_rows
from models.core.energy.density import EnergyDensity
from models.core.nn.conv import class_mask


class Features(OneShot):
    """Columns energy (B,), features (B, hidden), what the last layer sees, and of a model with
    classes also logits and probabilities (B, K): all of an image in one pass."""

    def __init__(self, model: EnergyDensity) -> None:
        num, width = model.num_classes, model.config.hidden
        classes = columns(probabilities=(num,), logits=(num,)) if num else {}
        super().__init__(
            model,
            self._features,
            outputs={**classes, **columns(energy=(), features=(width,))},
            graphs=("features",),
        )

    def _features(self, rows: Rows) -> Rows:
        logits, energy, features = self.model.compute("features", rows["x"])
        columns = {"energy": energy, "features": features}
        if self.model.num_classes:
            columns |= {"probabilities": logits.softmax(1), "logits": logits}
        return columns


class GradientNorm(OneShot):
    """Columns grad_norm (B,), |dE/dx|_2 in nats per unit of grey, and energy (B,)."""

    def __init__(self, model: EnergyDensity) -> None:
        super().__init__(
            model,
            self._gradient_norm,
            outputs=columns(grad_norm=(), energy=()),
            graphs=("energy_grad",),
        )
        self.num_outputs = model.num_outputs

    def _gradient_norm(self, rows: Rows) -> Rows:
        x = rows["x"]
        every = torch.full((num_rows(rows),), -1, device=x.device)
        energy, grad = self.model.compute("energy_grad", x, class_mask(every, self.num_outputs))
        return {"grad_norm": grad.flatten(1).double().norm(dim=1).float(), "energy": energy}
