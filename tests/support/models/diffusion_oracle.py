"""Diffusion models whose network is exact, since their data are Gaussians or a mixture of them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.sample import DiffusionSample, DiffusionSampleParams
from models.core.diffusion.schedule import Schedule
from models.core.nn.conv import class_mask


class MixtureOracle(DiffusionModel):
    """z_0 is drawn from one of K Gaussians of independent pixels; a label names which.

    With one component there are no classes. Call `.double()` for exact tests.
    Shapes: mean and std (K, C, H, W) in the scaled space, weight (K,).
    """

    def __init__(
        self, mean: Tensor, std: Tensor, weight: Tensor, schedule: Schedule | None = None
    ) -> None:
        num_components, *event_shape = mean.shape
        channels, height, width = event_shape
        num_classes = num_components if num_components > 1 else 0
        super().__init__((channels, height, width), schedule or Schedule(1000), num_classes)
        self.mean, self.std = nn.Parameter(mean), nn.Parameter(std)
        self.weight = nn.Parameter(weight / weight.sum())
        self.eval().requires_grad_(False)

    def eps(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """E[noise | z_t], which is -beta_bar times the gradient of log p_t(z)."""
        alpha_bar, beta_bar = self._shares(z, t)
        each = beta_bar[:, None] * (z[:, None] - alpha_bar[:, None] * self.mean) / self._var(z, t)
        responsibility = self._log_joint(z, t, label).softmax(1)
        return (responsibility.view(*responsibility.shape, 1, 1, 1) * each).sum(1)

    def log_density(self, z: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """log p_t(z) in the scaled space; at t = 0 that of the data.

        Shapes: z (B, C, H, W), t (B,), label (B,), -1 for none -> (B,), nats.
        """
        label = torch.full((len(z),), -1) if label is None else label
        joint = self._log_joint(z, t, label)
        # Given a label, its weight is 1.
        own = torch.where(label < 0, 0.0, self.weight.log()[label.clamp(min=0)])
        return joint.logsumexp(1) - own

    def sample_data(self, num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Clean data and their components. -> z_0 (num, C, H, W), label (num,)."""
        generator = torch.Generator().manual_seed(seed)
        label = torch.multinomial(self.weight, num, replacement=True, generator=generator)
        noise = torch.randn(num, *self.event_shape, generator=generator, dtype=self.mean.dtype)
        return self.mean[label] + self.std[label] * noise, label

    def flow(self, z: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Where the flow of probability takes z from time t to time s, for one component.

        It stretches every pixel about its mean as the standard deviation grows or shrinks.
        """
        assert len(self.mean) == 1, "of a mixture the flow has no closed form"
        (at, _), (to, _) = self._shares(z, t), self._shares(z, s)
        stretch = (self._var(z, s) / self._var(z, t)).sqrt()[:, 0]
        return to * self.mean + stretch * (z - at * self.mean)

    def _shares(self, z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_bar and beta_bar, (B, 1, 1, 1) each."""
        alpha_bar, beta_bar = self.schedule.alpha_bar(t), self.schedule.beta_bar(t)
        return alpha_bar.to(z).view(-1, 1, 1, 1), beta_bar.to(z).view(-1, 1, 1, 1)

    def _var(self, z: Tensor, t: Tensor) -> Tensor:
        """Of z_t within each component. -> (B, K, C, H, W)."""
        alpha_bar, beta_bar = self._shares(z, t)
        return (alpha_bar[:, None] * self.std).square() + beta_bar[:, None].square()

    def _log_joint(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """log of weight times density; -1e9 for components that are not the label. -> (B, K)."""
        alpha_bar, _ = self._shares(z, t)
        var = self._var(z, t)
        square = (z[:, None] - alpha_bar[:, None] * self.mean).square() / var
        log_density = -0.5 * (square + var.log() + math.log(2 * math.pi)).flatten(2).sum(2)
        joint = log_density + self.weight.log()
        return joint + class_mask(label, len(self.mean)).to(z) if self.num_classes else joint

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        raise AssertionError("an oracle is not trained")

    def operations(self) -> Mapping[str, Operation[Any]]:
        return {}


def gaussian_oracle(
    mean: float = 0.1,
    std: float = 0.4,
    event_shape: tuple[int, int, int] = (1, 4, 4),
    schedule: Schedule | None = None,
) -> MixtureOracle:
    """All pixels alike, without classes."""
    shape = (1, *event_shape)
    return MixtureOracle(torch.full(shape, mean), torch.full(shape, std), torch.ones(1), schedule)


def pair_oracle(schedule: Schedule | None = None) -> MixtureOracle:
    """A dark component, drawn one time in four, and a bright one, so far apart that none errs."""
    mean = torch.tensor([-0.5, 0.4]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    std = torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    weight = torch.tensor([0.25, 0.75])
    return MixtureOracle(mean.contiguous(), std.contiguous(), weight, schedule)


def sampler_of(model: DiffusionModel, **params: Any) -> DiffusionSample:
    """With these params by default; no clipping unless they say so, since Gaussians have no end."""
    return DiffusionSample(model, DiffusionSampleParams(**{"clip": False, **params}))


def started(operation: DiffusionSample, num_rows: int = 2, **inputs: Tensor) -> Rows:
    """Rows before the first step, all of other seeds."""
    return operation.init({"seed": row_seeds(0, num_rows), **inputs}, operation.default_params)
