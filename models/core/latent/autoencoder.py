"""Autoencoders whose decoder gives every value a distribution of its own in one pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.core.contract.graph import Graph
from models.core.contract.grid import Grid
from models.core.contract.operation import Operation
from models.core.distributions.levels import OutputName, output
from models.core.latent.config import LatentConfig
from models.core.latent.density import ValueDecoder
from models.core.latent.likelihood_path import LikelihoodPath
from models.core.latent.model import LatentModel
from models.core.latent.nets import NetName, decoder
from models.core.latent.programs import LatentDecode, LatentSample, Reconstruct

_EDGE = 0.02
"""How near to 0 or 1 a pixel's own frequency may start."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(LatentConfig):
    """A latent-variable model's settings with those of a decoder; the defaults are tiny."""

    output: OutputName = "bernoulli"
    """Distribution of every value given z; with grey levels the discretised logistic mixture."""
    num_components: int = 1
    """Components of a logistic mixture."""
    decoder: NetName = "mlp"
    decoder_channels: tuple[int, ...] = (8, 4)
    """Widths of a convolutional decoder, which doubles the sides for each."""
    decoder_hidden: tuple[int, ...] = (16,)


class Autoencoder(LatentModel, ValueDecoder):
    """p(x given z) = product over the values of x, which are independent given z."""

    config: AutoencoderConfig
    grid: Grid
    decoder_graphs = ("decode",)

    def __init__(self, config: AutoencoderConfig) -> None:
        """Raises ValueError for settings that do not fit."""
        super().__init__(config)
        if self.grid is None:
            raise ValueError("num_levels 0: accepted are 2 or more, since the values are discrete")
        self.output = output(config.output, config.num_levels, config.num_components)
        self.decoder = decoder(
            config.decoder,
            config.latent_dims,
            config.decoder_hidden,
            config.decoder_channels,
            config.event_shape,
            self.output.num_params,
        )
        start = torch.zeros(*config.event_shape, self.output.num_params)
        if config.output == "logistic_mixture":
            # Components that start alike would stay alike.
            _, mean, log_scale = start.chunk(3, -1)
            mean.copy_(torch.linspace(-1, 1, config.num_components + 2)[1:-1])
            log_scale.fill_(-2.0)
        self.start = nn.Parameter(start)
        self._graphs = self._build_graphs()

    def decode(self, z: Tensor) -> Tensor:
        """The numbers of every value's distribution. Shapes: (B, D) -> (B, *event, P)."""
        params: Tensor = self.decoder(z)
        return params.to(z.dtype) + self.start

    def log_prob_given(self, x: Tensor, z: Tensor) -> Tensor:
        (params,) = self.compute("decode", z)
        params = params.unflatten(0, (len(x), -1))
        levels = self.grid.levels(x).unsqueeze(1).expand(params.shape[:-1])
        return self.output.log_prob(params, levels).flatten(2).sum(2).flatten()

    def expected(self, params: Tensor) -> Tensor:
        """The mean of every value. Shapes: (B, *event, P) -> (B, *event)."""
        values = self.grid.values(torch.arange(self.grid.num_levels, device=params.device))
        return self.output.log_probs(params).exp() @ values.to(params.dtype)

    def chosen(self, params: Tensor, u: Tensor) -> Tensor:
        """Values drawn by uniform numbers. Shapes: (B, *event, P), (B, *event) -> (B, *event)."""
        return self.grid.values(self.output.sample(params, u, torch.ones_like(u)))

    def initialise(self, x: Tensor) -> None:
        """Start at every pixel's frequency of white. Shapes: (N, *event), of the train split."""
        if self.grid.num_levels == 2 and self.config.output == "bernoulli":
            frequency = (x / self.grid.top).mean(0).clamp(_EDGE, 1 - _EDGE)
            with torch.no_grad():
                self.start.copy_(frequency.logit().unsqueeze(-1))

    def graphs(self) -> Mapping[str, Graph]:
        return self._graphs

    def _build_graphs(self) -> Mapping[str, Graph]:
        z = torch.zeros(2, self.num_latents)
        return {**super().graphs(), "decode": Graph(self._decode_graph, ("z",), ("params",), (z,))}

    def _decode_graph(self, z: Tensor) -> tuple[Tensor]:
        return (self.decode(z),)

    def operations(self) -> Mapping[str, Operation[Any]]:
        return {
            "sample": LatentSample(self),
            **super().operations(),
            "decode": LatentDecode(self),
            "reconstruct": Reconstruct(self),
            "likelihood_path": LikelihoodPath(self),
        }
