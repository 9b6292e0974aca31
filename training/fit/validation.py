"""Which weights of a run are kept: those with the lowest loss on the validation split."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.core.contract.model import GenerativeModel
from training.data.splits import Split, as_events

_BATCH = 250


class Validation:
    """The first rows of a validation split, in batches, with the same noise at every look."""

    def __init__(self, split: Split, max_rows: int) -> None:
        self.x, self.y = split.x[:max_rows], torch.from_numpy(split.y[:max_rows])

    @property
    def num_batches(self) -> int:
        """Batches of a look."""
        return -(-len(self.y) // _BATCH)

    def loss_at(self, model: GenerativeModel, batch: int) -> Tensor:
        """Sum of the model's own loss over one batch, in nats. -> ()."""
        rows = slice(batch * _BATCH, (batch + 1) * _BATCH)
        device = model.device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(batch)
            return model.loss(as_events(self.x[rows]).to(device), self.y[rows].to(device)).sum()


class BestWeights(Callback):
    """Saves the weights of the best look. Stands before the averaging callback in the list, which
    puts the averaged weights in place for a look and takes them away after this has seen them."""

    def __init__(self, folder: Path) -> None:
        self._weights, self._figures = folder / "best.safetensors", folder / "best.json"
        self._total, self._num = 0.0, 0

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._total, self._num = 0.0, 0

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, *args: Any
    ) -> None:
        self._total += float(outputs)
        self._num += 1

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        value = self._total / len(pl_module.validation.y)
        pl_module.log("validation_loss", value, prog_bar=True)
        if not value < self.best:
            return
        state = {k: v.contiguous() for k, v in pl_module.model.state_dict().items()}
        beside = self._weights.with_suffix(".tmp")
        save_file(state, beside)
        beside.replace(self._weights)
        self._figures.write_text(
            json.dumps({"validation_loss_nats": value, "step": trainer.global_step})
        )

    @property
    def best(self) -> float:
        """The lowest loss so far, over all runs in this folder; infinity before the first look."""
        if not self._figures.exists():
            return float("inf")
        return float(json.loads(self._figures.read_text())["validation_loss_nats"])

    def restore(self, model: GenerativeModel) -> None:
        """Put the best weights into the model, if there was a look."""
        if self._weights.exists():
            model.load_state_dict(load_file(self._weights))
