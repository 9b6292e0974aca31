"""What the energy-based families share: one network whose logits are unnormalised log densities.

LeCun et al. 2006, "A tutorial on energy-based learning"; Grathwohl et al. 2020, arXiv:1912.03263.
The density lives on the box [0, 1]^D, so that it can be normalised whatever the network is:
p(x) = exp(-E(x)) / Z with E(x) = -logsumexp(logits(x)).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.likelihood import Likelihood, log_cell_volume
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import OneShot, Operation, Rows, num_rows
from models.core.energy.langevin import Langevin
from models.core.nn.conv import ConvNet, class_mask
from models.core.ood.of_classifier import Features, GradientNorm


@dataclass(frozen=True, kw_only=True)
class EnergyConfig:
    """Sizes of the network, and how its sampler was run in training."""

    event_shape: tuple[int, int, int] = (1, 8, 8)
    channels: tuple[int, ...] = (8, 16)
    strides: tuple[int, ...] = (2, 2)
    hidden: int = 16
    num_chains: int = 8
    """Persistent chains kept with the weights."""
    start_rank: int = 2
    """Rank of the Gaussian from which informative starts are drawn."""
    step_size: float = 0.5
    noise_scale: float = 0.01
    num_steps: int = 8
    polish_steps: int = 0


class EnergyModel(GenerativeModel):
    """A network of `num_outputs` logits; the energy is -logsumexp of them.

    Buffers beside the weights: the Gaussian starts (one per output), the persistent chains
    (sorted by label, -1 = drawn without one) and log Z with its standard error (NaN: not known).
    """

    likelihood = Likelihood.UNNORMALISED
    start_mean: Tensor
    start_factor: Tensor
    start_std: Tensor
    chains: Tensor
    chain_label: Tensor
    log_z: Tensor
    log_z_standard_error: Tensor

    def __init__(self, config: EnergyConfig, num_outputs: int) -> None:
        super().__init__()
        self.config = config
        self.event_shape = config.event_shape
        self.num_outputs = num_outputs
        self.net = ConvNet(
            config.event_shape, config.channels, config.strides, config.hidden, num_outputs
        )
        dims, rank = self.num_dims, config.start_rank
        chains = torch.zeros(config.num_chains, *config.event_shape, dtype=torch.uint8)
        self.register_buffer("start_mean", torch.full((num_outputs, dims), 0.5))
        self.register_buffer("start_factor", torch.zeros(num_outputs, rank, dims))
        self.register_buffer("start_std", torch.full((num_outputs, dims), 0.3))
        self.register_buffer("chains", chains)
        self.register_buffer("chain_label", torch.full((config.num_chains,), -1))
        self.register_buffer("log_z", torch.tensor(float("nan")))
        self.register_buffer("log_z_standard_error", torch.tensor(float("nan")))

    def logits(self, x: Tensor) -> Tensor:
        """Unnormalised log densities, one per output. Shapes: (B, C, H, W) -> (B, K)."""
        return self.net(x).float()

    def energy(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Low where x is likely: -logsumexp(logits), or -logits[label] where label >= 0.

        Shapes: x (B, C, H, W), label (B,) int64 -> (B,), nats up to the model's constant.
        """
        logits = self.logits(x)
        if label is not None:
            logits = logits + class_mask(label, self.num_outputs)
        return -logits.logsumexp(1)

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

    def graphs(self) -> Mapping[str, Graph]:
        x = torch.full((2, *self.event_shape), 0.5)
        mask = torch.zeros(2, self.num_outputs)
        return {
            "logits": Graph(self._logits_and_energy, ("x",), ("logits", "energy"), (x,)),
            "energy_grad": Graph(
                self._energy_and_grad, ("x", "mask"), ("energy", "grad"), (x, mask)
            ),
            "features": Graph(self._features, ("x",), ("logits", "energy", "features"), (x,)),
        }

    def _logits_and_energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.logits(x)
        return logits, -logits.logsumexp(1)

    def _features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, and what the last layer sees (B, hidden), in one pass."""
        hidden = self.net.hidden(x)
        logits = self.net.outputs(hidden).float()
        return logits, -logits.logsumexp(1), hidden.float()

    def _energy_and_grad(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The energy over the classes that `mask` allows, and its gradient in x."""
        # The engine runs under no_grad; this is the one function that needs a gradient.
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = -(self.logits(x) + mask).logsumexp(1)
            # Rows are independent, so the gradient of the sum holds each row's own.
            (grad,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), grad

    def operations(self) -> Mapping[str, Operation[Any]]:
        return {
            "sample": Langevin(self),
            "log_likelihood": EnergyLikelihood(self),
            "energy": self._one_shot(self._energy_rows, ("energy",)),
            "features": Features(self),
            "gradient_norm": GradientNorm(self),
        }

    def _one_shot(
        self, forward: Callable[[Rows], Rows], outputs: tuple[str, ...], takes_label: bool = False
    ) -> OneShot:
        return OneShot(self, forward, outputs=outputs, graphs=("logits",), takes_label=takes_label)

    def _energy_rows(self, rows: Rows) -> Rows:
        _, energy = self.compute("logits", rows["x"])
        return {"energy": energy}


@dataclass(frozen=True)
class EnergyLikelihoodParams:
    """How the unknown constant log Z is treated."""

    estimator: Literal["none", "ais"] = "none"
    """none: -energy, unnormalised. ais: minus log Z by annealed importance sampling."""


class EnergyLikelihood(Operation[EnergyLikelihoodParams]):
    """-E(x), or with estimator "ais" the estimated log probability of the 8-bit pixels, nats.

    log Z was estimated once, when the bundle was made; its standard error is the same for all
    images, since the error is in the constant.
    """

    Params = EnergyLikelihoodParams
    outputs = ("log_prob", "standard_error")
    graphs = ("logits",)

    def __init__(self, model: EnergyModel) -> None:
        self.model = model

    @property
    def examples(self) -> tuple[EnergyLikelihoodParams, ...]:
        none = EnergyLikelihoodParams()
        known = not bool(self.model.log_z.isnan())
        return (none, EnergyLikelihoodParams("ais")) if known else (none,)

    def kind(self, params: EnergyLikelihoodParams) -> Likelihood:
        return Likelihood.ESTIMATE if params.estimator == "ais" else Likelihood.UNNORMALISED

    def check(self, inputs: Any, params: EnergyLikelihoodParams) -> None:
        super().check(inputs, params)
        if params.estimator == "ais" and bool(self.model.log_z.isnan()):
            raise ValueError('this bundle holds no log Z: accepted is estimator "none"')

    def num_steps(self, params: EnergyLikelihoodParams) -> int:
        return 1

    def init(self, inputs: Rows, params: EnergyLikelihoodParams) -> Rows:
        x = inputs["x"].to(self.model.device)
        log_z, error = torch.zeros(()), torch.full((), float("nan"))
        if params.estimator == "ais":
            log_z = self.model.log_z.cpu() - log_cell_volume(self.model.num_dims)
            error = self.model.log_z_standard_error.cpu()
        return {
            "x": x,
            "log_z": log_z.expand(num_rows(inputs)).to(x.device),
            "standard_error": error.expand(num_rows(inputs)).to(x.device),
        }

    def step(self, rows: Rows) -> Rows:
        _, energy = self.model.compute("logits", rows["x"])
        return {**rows, "log_prob": -energy - rows["log_z"]}

    def finish(self, rows: Rows) -> Rows:
        return {name: rows[name] for name in self.outputs}
