"""PixelVAE: latents for the whole image, and a PixelCNN of small reach for what they leave.

Gulrajani et al. 2017, "PixelVAE: a latent variable model for natural images", arXiv:1611.05013,
with one level of latents (its section 3.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.core.contract.graph import Graph
from models.core.contract.grid import Grid
from models.core.contract.operation import Operation
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.distributions.levels import OutputName, output
from models.core.latent.config import LatentConfig
from models.core.latent.model import LatentModel
from models.core.latent.nets import NetName, decoder
from models.core.latent.pixel_programs import PixelLatentDecode, PixelLatentSample, PixelReconstruct
from models.core.pixelcnn.cached_net import CachedPixelNet
from models.core.pixelcnn.distribution import PixelDistribution, graph

_PART = 64
"""Images whose features stay in a CPU's cache: 250 at once take twice as long each."""


@dataclass(frozen=True, kw_only=True)
class Config(LatentConfig):
    """The defaults are a tiny model of binary images."""

    output: OutputName = "bernoulli"
    num_components: int = 5
    """Components of the logistic mixture."""
    decoder: NetName = "conv"
    """Network from the latents to feature maps as large as the image."""
    decoder_channels: tuple[int, ...] = (8, 4)
    """Widths of a convolutional decoder, which doubles the sides for each."""
    decoder_hidden: tuple[int, ...] = (16,)
    num_features: int = 3
    """Feature maps, which every layer of the PixelCNN sees."""
    channels: int = 8
    """Width of both stacks of the PixelCNN."""
    num_layers: int = 2
    """Few, so that what lies farther apart than they reach is left to the latents."""
    kernel_size: int = 3
    input_kernel_size: int = 3
    dilations: tuple[int, ...] = (1,)
    """Dilations of the layers in turn; 1 is dense."""
    coordinates: bool = False
    """Whether a pixel's row and column are inputs of the PixelCNN."""
    head_channels: int = 8
    dropout: float = 0.0
    pixel_temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature of the pixels unless a request says otherwise; latents have their own."""


class Model(LatentModel):
    """p(x given z) = product over pixels of p(pixel given the earlier ones and z)."""

    config: Config
    grid: Grid
    decoder_graphs = ("log_prob_given",)
    samples_per_step = 1

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the events are not images of one channel and discrete levels."""
        if len(config.event_shape) != 3 or config.event_shape[0] != 1:
            raise ValueError(f"event_shape {config.event_shape}: accepted is (1, H, W)")
        if config.num_features < 1:
            raise ValueError(f"num_features {config.num_features}: accepted are 1 and more")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout {config.dropout}: accepted are 0 up to, not including, 1")
        super().__init__(config)
        self.output = output(config.output, config.num_levels, config.num_components)
        self.decoder = decoder(
            config.decoder,
            config.latent_dims,
            config.decoder_hidden,
            config.decoder_channels,
            config.event_shape,
            config.num_features,
        )
        self.net = CachedPixelNet(
            (config.event_shape[1], config.event_shape[2]),
            self.output.num_params,
            channels=config.channels,
            num_layers=config.num_layers,
            kernel_size=config.kernel_size,
            input_kernel_size=config.input_kernel_size,
            dilations=config.dilations,
            head_channels=config.head_channels,
            dropout=config.dropout,
            num_classes=0,
            coordinates=config.coordinates,
            num_features=config.num_features,
        )
        self.distribution = PixelDistribution(self.net, self.output, self.grid)
        self._graphs = self._build_graphs()

    def features(self, z: Tensor) -> Tensor:
        """What the PixelCNN is told of the latents. Shapes: (B, D) -> (B, H, W, F)."""
        maps: Tensor = self.decoder(z)
        return maps.squeeze(1).to(z.dtype)

    def log_prob_given(self, x: Tensor, z: Tensor) -> Tensor:
        """log P of the nearest levels. Shapes: x (B, 1, H, W), z (B * K, D) -> (B * K,), nats."""
        many = x.repeat_interleave(len(z) // len(x), 0) if len(z) > len(x) else x
        size = _PART if x.device.type == "cpu" else len(many)
        parts = zip(many.split(size), z.split(size), strict=True)
        return torch.cat([self.compute("log_prob_given", *part)[0] for part in parts])

    def graphs(self) -> Mapping[str, Graph]:
        """The encoder, log p(x given z), and the parts of a sampler's step."""
        return self._graphs

    def _build_graphs(self) -> Mapping[str, Graph]:
        x, z = torch.zeros(2, *self.event_shape), torch.zeros(2, self.num_latents)
        features = torch.zeros(2, *self.event_shape[1:], self.config.num_features)
        return {
            **super().graphs(),
            "log_prob_given": graph(self._log_prob_graph, {"x": x, "z": z}, "log_prob"),
            "features": graph(self._features_graph, {"z": z}, "features"),
            **self.distribution.sampler(x, {"features": features}),
        }

    def _features_graph(self, z: Tensor) -> tuple[Tensor]:
        return (self.features(z),)

    def _log_prob_graph(self, x: Tensor, z: Tensor) -> tuple[Tensor]:
        return (self.distribution.log_prob(x, self.features(z)),)

    def operations(self) -> Mapping[str, Operation[Any]]:
        settings = self, self.net, self.config.pixel_temperature
        return {
            "sample": PixelLatentSample(*settings),
            **super().operations(),
            "decode": PixelLatentDecode(*settings),
            "reconstruct": PixelReconstruct(*settings),
        }
