"""Gated PixelCNN: an image's probability as a product over its pixels in raster order.

A pixel of three colours is a product over these, each given the ones before it.

Van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", arXiv:1606.05328;
masked convolutions: van den Oord et al. 2016, arXiv:1601.06759.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from models.core.coding.pixelcnn import PixelCodec
from models.core.coding.programs import compression
from models.core.contract.columns import columns
from models.core.contract.graph import Graph
from models.core.contract.grid import Grid, grid_of
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.one_shot import OneShot
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.derived.log_likelihood import likelihood_operations
from models.core.distributions.levels import OutputName, output
from models.core.pixelcnn.cached_net import CachedPixelNet
from models.core.pixelcnn.distribution import PixelDistribution, graph
from models.core.pixelcnn.sampler import PixelSample


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are a tiny model of three classes, which uses all options."""

    event_shape: tuple[int, ...] = (1, 4, 4)
    num_levels: int = 4
    """Levels of grey, or of each colour."""
    output: OutputName = "categorical"
    num_components: int = 5
    """Components of the logistic mixture."""
    num_classes: int = 3
    conditional: bool = True
    """Whether samples and likelihoods can be given a class; if not, num_classes is ignored."""
    drop_label: float = 0.1
    """Share of training rows that lose their label, so that the model works without one."""
    coordinates: bool = True
    """Whether a pixel's row and column are inputs."""
    place_tables: bool = False
    """Whether every row and every column have inputs of their own, learnt: a network of a small
    window then knows what belongs where."""
    channels: int = 8
    """Width of both stacks."""
    num_layers: int = 2
    kernel_size: int = 3
    input_kernel_size: int = 5
    dilations: tuple[int, ...] = (1, 2)
    """Dilations of the layers in turn; 1 is dense."""
    head_channels: int = 8
    dropout: float = 0.0
    temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature at which samples are drawn unless a request says otherwise."""


class Model(GenerativeModel):
    """log p(x given label) = sum over pixels of log p(pixel given the earlier ones, label)."""

    likelihood = Likelihood.EXACT
    grid: Grid

    def __init__(self, config: Config) -> None:
        """Raises ValueError if the events are not images, grey or in colour, of discrete levels."""
        super().__init__()
        if len(config.event_shape) != 3 or config.event_shape[0] not in (1, 3):
            raise ValueError(
                f"event_shape {config.event_shape}: accepted are (1, H, W) and (3, H, W)"
            )
        num_colours, height, width = config.event_shape
        grid = grid_of(config.event_shape, config.num_levels)
        assert grid is not None, "images are refused without levels"
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout {config.dropout}: accepted are 0 up to, not including, 1")
        if not 0 <= config.drop_label <= 1:
            raise ValueError(f"drop_label {config.drop_label}: accepted are 0 to 1")
        self.config = config
        self.event_shape = config.event_shape
        self.grid = grid
        self.num_classes = config.num_classes if config.conditional else 0
        self.output = output(config.output, config.num_levels, config.num_components)
        self.net = CachedPixelNet(
            (height, width),
            self.output.num_params,
            channels=config.channels,
            num_layers=config.num_layers,
            kernel_size=config.kernel_size,
            input_kernel_size=config.input_kernel_size,
            dilations=config.dilations,
            head_channels=config.head_channels,
            dropout=config.dropout,
            num_classes=self.num_classes,
            coordinates=config.coordinates,
            place_tables=config.place_tables,
            num_colours=num_colours,
        )
        self.distribution = PixelDistribution(self.net, self.output, grid)
        self._graphs = self._build_graphs()

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """-log p(x given y), some labels dropped while training.

        Shapes: x (B, C, H, W), y (B,) int64 -> (B,), nats.
        """
        label = y if self.num_classes else None
        if label is not None and self.training:
            dropped = torch.rand(len(x), device=x.device) < self.config.drop_label
            label = torch.where(dropped, -1, label)
        return -self.log_prob(x, label)

    def log_prob(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """log P of the nearest grid values, given a label or (-1) none.

        Shapes: x (B, C, H, W), label (B,) -> (B,), nats.
        """
        if not self.num_classes:
            return self.distribution.log_prob(x)
        none = torch.full((x.shape[0],), -1, device=x.device)
        return self.distribution.log_prob(x, none if label is None else label)

    def graphs(self) -> Mapping[str, Graph]:
        """The density, and the two halves of a sampler's step (see `CachedPixelNet`)."""
        return self._graphs

    def _build_graphs(self) -> Mapping[str, Graph]:
        x = torch.zeros(2, *self.event_shape)
        label = {"label": torch.zeros(2, dtype=torch.int64)} if self.num_classes else {}
        return {
            "log_prob": graph(self._log_prob_graph, {"x": x, **label}, "log_prob"),
            **self.distribution.sampler(x, label),
        }

    def _log_prob_graph(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor]:
        return (self.log_prob(x, label),)

    def operations(self) -> Mapping[str, Operation[Any]]:
        log_likelihood = OneShot(
            self,
            self._log_likelihood,
            outputs=columns(log_prob=()),
            graphs=("log_prob",),
            takes_label=self.num_classes > 0,
            likelihood=self.likelihood,
        )
        num_colours, height, width = self.event_shape
        codec = PixelCodec(self.net, self.output, self.grid, (num_colours, height, width))
        return {
            "sample": PixelSample(self, self.net, self.config.temperature),
            **likelihood_operations(self, log_likelihood),
            **compression(self, codec),
        }

    def _log_likelihood(self, rows: Rows) -> Rows:
        """log_prob (B,) of the image given its label, if it has one."""
        label = (rows["label"],) if self.num_classes else ()
        (log_prob,) = self.compute("log_prob", rows["x"], *label)
        return {"log_prob": log_prob}
