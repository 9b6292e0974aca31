"""Maximum likelihood for energy models: data down, samples of the model up, labels beside.

The gradient of -log p(x) is that of E(data) - E(sample) (LeCun et al. 2006); samples come from a
replay buffer of persistent chains (Du and Mordatch 2019, arXiv:1903.08689), advanced by the very
Langevin operation that serves requests. With labels, cross-entropy is added (Grathwohl et al.
2020, arXiv:1912.03263, eq. 7), and a share of the chains is conditioned on a label.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.core.contract.grid import quantise
from models.core.contract.operation import run
from models.core.energy.langevin import Langevin
from models.core.energy.model import EnergyModel
from training.data.batches import Batches, random
from training.data.splits import Split
from training.fit.objective import Objective
from training.fit.starts import fit_starts, shifted

# Streams of random numbers, so that draws of one step are independent of each other.
_LABELLED, _SHIFT, _NOISE, _CONDITIONAL, _REPLAY, _RESTART = range(1, 7)
_LABEL_NOISE, _MODEL_NOISE = range(7, 9)


class Contrastive(Objective):
    """First cross-entropy alone (with labels), then contrastive loss and cross-entropy together."""

    def __init__(
        self,
        model: EnergyModel,
        train: Split,
        seed: int,
        *,
        classifier_steps: int = 0,
        contrastive_steps: int = 1000,
        batch_size: int = 64,
        labelled_batch_size: int = 64,
        classifier_rate: float = 1e-3,
        rate: float = 1e-4,
        num_langevin: int = 10,
        buffer_size: int = 5000,
        fresh_share: float = 0.05,
        conditional_share: float = 0.5,
        fresh_start: str = "gaussian",
        data_noise: float = 0.03,
        l2: float = 0.1,
        contrastive_weight: float = 1.0,
        label_weight: float = 1.0,
        max_shift: int = 0,
        max_energy: float = 50.0,
    ) -> None:
        """`max_energy`: mean energies beyond this, in nats, count as divergence."""
        super().__init__(model, train, seed)
        self.classifier_steps = classifier_steps if model.num_classes else 0
        self.num_steps = self.classifier_steps + contrastive_steps
        self.rate_steps = contrastive_steps
        self.phase_ends = (self.classifier_steps, self.num_steps)
        self.rates = (classifier_rate, rate)
        self.num_langevin = num_langevin
        self.chain_params: dict[str, Any] = {
            "start": "data",
            "num_steps": num_langevin,
            "polish_steps": 0,
        }
        self.fresh_share, self.fresh_start = fresh_share, fresh_start
        self.conditional_share = conditional_share if model.num_classes else 0.0
        self.data_noise, self.max_shift = data_noise, max_shift
        self.max_energy = max_energy
        self.weights = {"contrastive": contrastive_weight, "label": label_weight, "l2": l2}
        self.batches = Batches(train, batch_size, seed)
        self.labelled = Batches(train, labelled_batch_size, seed, _LABELLED)
        self.sampler = Langevin(model)
        fit_starts(model, self.batches)
        self.chains = torch.zeros(buffer_size, *model.event_shape, dtype=torch.float16)
        self.chain_label = torch.zeros(buffer_size, dtype=torch.int64)
        self.chain_age = torch.zeros(buffer_size, dtype=torch.int64)
        self._restart(torch.arange(buffer_size), step=0)

    def learning_rate(self, step: int) -> float:
        """Cosine to a tenth within each phase, the second with a short linear warm-up."""
        if step < self.classifier_steps:
            progress, peak = step / self.classifier_steps, self.rates[0]
        else:
            done = step - self.classifier_steps
            progress = done / max(self.rate_steps, 1)
            peak = self.rates[1] * min(1.0, (done + 1) / 200)
        return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2)

    def losses(self, step: int) -> dict[str, Tensor]:
        if step < self.classifier_steps:
            cross_entropy, penalty, accuracy = self._classify(step)
            loss = cross_entropy + self.weights["l2"] * penalty
            return {"loss": loss, "accuracy": accuracy}
        x, y = self.batches.at(step)
        label = torch.where(self._is_conditional(len(y), step), y, -1)
        x_model, label_model = self._negatives(x, label, step)
        x = self._noisy(x, step, _NOISE)
        # Both sides get the same smoothing, or its absence alone would tell samples from data.
        x_model = self._noisy(x_model, step, _MODEL_NOISE)
        e_data = self.model.energy(x, label)
        e_model = self.model.energy(x_model, label_model)
        contrast = (e_data - e_model).mean()
        penalty = e_data.square().mean() + e_model.square().mean()
        loss = self.weights["contrastive"] * contrast + self.weights["l2"] * penalty
        shown = self._shown(e_data.detach(), e_model.detach())
        if self.model.num_classes:
            cross_entropy, _, shown["accuracy"] = self._classify(step)
            loss = loss + self.weights["label"] * cross_entropy
        return {"loss": loss, **shown}

    def diverged(self, losses: Mapping[str, Tensor]) -> bool:
        """Also if the mean energy of data or of samples has run away."""
        energies = [losses[name] for name in ("e_data", "e_model") if name in losses]
        far = any(abs(float(energy.detach())) > self.max_energy for energy in energies)
        return far or super().diverged(losses)

    def _classify(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy, mean square of the energy (a classifier's would drift far), accuracy."""
        x, y = self.labelled.at(step)
        x = shifted(x, self.max_shift, random(self.seed, step, _SHIFT))
        logits = self.model.logits(self._noisy(x, step, _LABEL_NOISE))
        accuracy = (logits.argmax(1) == y).float().mean()
        penalty = logits.logsumexp(1).square().mean()
        return functional.cross_entropy(logits, y), penalty, accuracy

    def _noisy(self, x: Tensor, step: int, stream: int) -> Tensor:
        noise = random(self.seed, step, stream).standard_normal(x.shape, "float32")
        return x + self.data_noise * torch.from_numpy(noise)

    def _is_conditional(self, size: int, step: int) -> Tensor:
        u = torch.from_numpy(random(self.seed, step, _CONDITIONAL).random(size))
        return u < self.conditional_share

    def _shown(self, e_data: Tensor, e_model: Tensor) -> dict[str, Tensor]:
        """Energies for the log, by names that begin with e_. Shapes: (B,), (B,)."""
        return {"e_data": e_data.mean(), "e_model": e_model.mean()}

    def _negatives(self, x: Tensor, label: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """What the data are set against, and its labels. -> (B, *event), (B,)."""
        return self._chains(len(x), step)

    def _chains(self, size: int, step: int) -> tuple[Tensor, Tensor]:
        """Advance some chains of the buffer, a few of them begun anew. -> (B, *event), (B,)."""
        rng = random(self.seed, step, _REPLAY)
        index = torch.from_numpy(rng.choice(len(self.chains), size, replace=False))
        fresh = torch.from_numpy(rng.random(size) < self.fresh_share)
        if bool(fresh.any()):
            self._restart(index[fresh], step)
        rows = {
            "seed": torch.from_numpy(rng.integers(2**62, size=size)),
            "x": self.chains[index].float(),
            "label": self.chain_label[index],
        }
        params = self.sampler.params(**self.chain_params)
        self.model.requires_grad_(False)
        x = run(self.sampler, rows, params)["x"].detach()
        self.model.requires_grad_(True)
        self.chains[index] = x.half()
        self.chain_age[index] += self.num_langevin
        return x, rows["label"]

    def _restart(self, index: Tensor, step: int) -> None:
        """Begin chains anew, evenly over the labels and with the stated share of no label."""
        rng = random(self.seed, step, _RESTART)
        label = torch.from_numpy(rng.integers(self.model.num_outputs, size=len(index)))
        free = torch.from_numpy(rng.random(len(index)) >= self.conditional_share)
        label = torch.where(free, -1, label)
        seed = torch.from_numpy(rng.integers(2**62, size=len(index)))
        params = self.sampler.params(start=self.fresh_start)
        self.chains[index] = self.sampler.init({"seed": seed, "label": label}, params)["x"].half()
        self.chain_label[index] = label
        self.chain_age[index] = 0

    def state(self) -> dict[str, Tensor]:
        return {"chains": self.chains, "label": self.chain_label, "age": self.chain_age}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.chains, self.chain_label, self.chain_age = (
            state["chains"].clone(),
            state["label"].clone(),
            state["age"].clone(),
        )

    def finish(self) -> None:
        """Keep chains with the weights, as many of each label, the older half first."""
        model, kept = self.model, len(self.model.chains)
        labels = range(model.num_outputs) if self.conditional_share else [-1]
        old = self.chain_age >= self.chain_age.median()
        chosen: list[Any] = []
        for label in labels:
            own = (self.chain_label == label).nonzero()[:, 0]
            own = torch.cat([own[old[own]], own[~old[own]]])
            chosen += own[: kept // len(labels)].tolist()
        # What is missing: chains without a label, then any, and some twice if the buffer is small.
        taken = set(chosen)
        spare = [i for i in self.chain_label.argsort(stable=True).tolist() if i not in taken]
        chosen += itertools.islice(itertools.cycle(spare or list(taken)), kept - len(chosen))
        model.chains.copy_(quantise(self.chains[chosen].float()))
        model.chain_label.copy_(self.chain_label[chosen])
