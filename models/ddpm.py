"""Denoising diffusion: noise is taken out of an image step by step.

Ho et al. 2020, "Denoising diffusion probabilistic models", arXiv:2006.11239; the derivation with
alpha_t^2 + beta_t^2 = 1: Su 2022, "Generative diffusion models talk (1): DDPM".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from models.core.contract.operation import Operation
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.derived.log_likelihood import EnergyOf
from models.core.diffusion.coefficients import SamplerName, SpacingName
from models.core.diffusion.denoise import Denoise
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.likelihood import DiffusionLogLikelihood
from models.core.diffusion.sample import DiffusionSample, DiffusionSampleParams
from models.core.diffusion.schedule import Schedule, ScheduleName
from models.core.diffusion.unet import UNet

_SIGMAS = (0.01, 2.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are a tiny model of three classes, which uses all options."""

    event_shape: tuple[int, int, int] = (1, 8, 8)
    num_classes: int = 3
    conditional: bool = True
    """Whether samples can be given a class; if not, num_classes is ignored."""
    drop_label: float = 0.1
    """Share of training rows that lose their label, so that the model works without one."""
    num_train_steps: int = 20
    """T, the steps from data to noise."""
    schedule: ScheduleName = "reference"
    train_times: Literal["even", "ratios"] = "even"
    """Which noise training shows: all times alike, as sampling needs it, or sigma = beta_bar /
    alpha_bar from 0.01 to 2 in equal ratios, as scores of strangeness do, which look at images
    that are nearly clean."""
    channels: tuple[int, ...] = (8, 16)
    """Width of each level; each level is half as high and wide as the one before."""
    num_blocks: int = 1
    """Residual blocks of a level, each way."""
    attention_levels: tuple[int, ...] = (1,)
    patch: int = 2
    """Side of the squares of pixels that enter as one place."""
    embedding: int = 8
    """Numbers that tell the blocks time and class."""
    sampler: SamplerName = field(default="ddim", metadata=KEEPS_WEIGHTS)
    """Sampler with which samples are drawn unless a request says otherwise."""
    num_steps: int = field(default=4, metadata=KEEPS_WEIGHTS)
    """Steps of that sampler; the settings below are its own too."""
    spacing: SpacingName = field(default="auto", metadata=KEEPS_WEIGHTS)
    eta: float = field(default=0.0, metadata=KEEPS_WEIGHTS)
    clip: bool = field(default=True, metadata=KEEPS_WEIGHTS)
    guidance_scale: float = field(default=1.0, metadata=KEEPS_WEIGHTS)


class Model(DiffusionModel):
    """eps(z_t, t, label) is a U-Net, trained by the simple loss with fixed variances."""

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the network cannot be made for these sizes."""
        if not 0 <= config.drop_label <= 1:
            raise ValueError(f"drop_label {config.drop_label}: accepted are 0 to 1")
        num_classes = config.num_classes if config.conditional else 0
        schedule = Schedule(config.num_train_steps, config.schedule)
        super().__init__(config.event_shape, schedule, num_classes)
        self.config = config
        self.net = UNet(
            config.event_shape,
            config.channels,
            num_blocks=config.num_blocks,
            attention_levels=config.attention_levels,
            patch=config.patch,
            embedding=config.embedding,
            num_classes=num_classes,
            num_train_steps=config.num_train_steps,
        )

    def eps(self, z: Tensor, t: Tensor, label: Tensor) -> Tensor:
        return self.net(z, t, label)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """|eps - eps(z_t, t)|^2 / D at a random time: 1 for a network that knows nothing.

        Not in nats: the simple loss (2006.11239, eq. 14) weighs the terms of the bound anew.
        Times are spread evenly over the batch, each of them still uniform (Kingma et al. 2021,
        arXiv:2107.00630, appendix I.1). Shapes: x (B, C, H, W), y (B,) int64 -> (B,).
        """
        z, size = self.from_event(x), len(x)
        ranks = (torch.arange(size, device=x.device) + torch.rand(1, device=x.device)) / size
        t = self._times(ranks)
        noise = torch.randn_like(z)
        alpha_bar, beta_bar = (
            share.to(z).view(-1, 1, 1, 1)
            for share in (self.schedule.alpha_bar(t), self.schedule.beta_bar(t))
        )
        eps = self.eps(alpha_bar * z + beta_bar * noise, t, self._labels(y, size))
        return (eps.float() - noise).square().flatten(1).mean(1)

    def _times(self, ranks: Tensor) -> Tensor:
        """Times at shares of all that training shows. Shapes: (B,) in [0, 1) -> (B,)."""
        if self.config.train_times == "even":
            return (ranks * self.schedule.num_train_steps).floor() + 1
        low, high = _SIGMAS
        return self.schedule.time_of(low * (high / low) ** ranks.double()).clamp(min=1).to(ranks)

    def _labels(self, y: Tensor | None, size: int) -> Tensor:
        """Labels in training, some of them dropped; -1 if there are none. -> (B,)."""
        if y is None or self.num_classes == 0:
            return torch.full((size,), -1, device=self.device)
        dropped = torch.rand(size, device=y.device) < self.config.drop_label * self.training
        return torch.where(dropped, -1, y)

    def operations(self) -> Mapping[str, Operation[Any]]:
        defaults = DiffusionSampleParams(
            sampler=self.config.sampler,
            num_steps=self.config.num_steps,
            spacing=self.config.spacing,
            eta=self.config.eta,
            clip=self.config.clip,
            guidance_scale=self.config.guidance_scale,
        )
        log_likelihood = DiffusionLogLikelihood(self)
        return {
            "sample": DiffusionSample(self, defaults),
            "log_likelihood": log_likelihood,
            "energy": EnergyOf(log_likelihood),
            "denoise": Denoise(self),
        }
