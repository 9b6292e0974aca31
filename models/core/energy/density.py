"""What the energy-based families share: one network whose logits are unnormalised log densities.

LeCun et al. 2006, "A tutorial on energy-based learning"; Grathwohl et al. 2020, arXiv:1912.03263.
The density lives on the box [0, 1]^D, so that it can be normalised whatever the network is:
p(x) = exp(-E(x)) / Z with E(x) = -logsumexp(logits(x)).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.notes import Notes
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.nn.conv import ConvNet, class_mask


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
    num_steps: int = field(default=8, metadata=KEEPS_WEIGHTS)
    polish_steps: int = field(default=0, metadata=KEEPS_WEIGHTS)


class EnergyDensity(GenerativeModel):
    """A network of `num_outputs` logits; the energy is -logsumexp of them.

    Buffers beside the weights: the Gaussian starts (one per output), the persistent chains
    (sorted by label, -1 = drawn without one) and log Z with its standard error (NaN: not known).
    """

    likelihood = Likelihood.UNNORMALISED
    own_figures = ("log_z",)
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

    def notes(self) -> Notes:
        """What its chains were trained for."""
        return Notes(
            trajectory="Chains that start at uniform noise were no part of training and need not "
            "reach images."
        )

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
        """Logits, energy, and what the last layer sees (B, hidden), in one pass."""
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
