"""MAF and IAF: flows of affine autoregressive blocks, quick to score or quick to sample.

Papamakarios et al. 2017, "Masked autoregressive flow for density estimation", arXiv:1705.07057;
Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow",
arXiv:1606.04934.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from models.core.contract.graph import Graph
from models.core.contract.operation import Operation
from models.core.derived.log_likelihood import likelihood_operations
from models.core.flow.density import FlowConfig
from models.core.flow.inversion_programs import (
    DecodeByInversion,
    EncodeByInversion,
    LogLikelihoodByInversion,
    SampleByInversion,
)
from models.core.flow.model import FlowModel
from models.core.nn.masked import ActivationName, MaskedMLP, permutation, wiring
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.autoregressive import (
    Affine,
    Autoregressive,
    Conditional,
    Inverse,
    Mixture,
)
from models.core.transforms.transform import Chain, Flatten, Transform


@dataclass(frozen=True, kw_only=True)
class Config(FlowConfig):
    """The defaults are a tiny model of 2x3 images."""

    event_shape: tuple[int, ...] = (1, 2, 3)
    direction: Literal["maf", "iaf"] = "maf"
    """maf: the density is one pass and a sample D; iaf: the other way round."""
    num_blocks: int = 2
    num_components: int = 1
    """Above 1, x is a mixture of so many logistics given what comes before it in the first block;
    the other blocks stay affine. Accepted with maf only."""
    hidden: tuple[int, ...] = (24,)
    activation: ActivationName = "silu"
    residual: bool = False
    direct: bool = False
    """Connections from a block's inputs straight to its outputs: D^2 weights."""
    dropout: float = 0.0
    order: Literal["reversed", "random"] = "reversed"
    """Order of the dimensions: reversed in every second block, or random in all but the first."""
    seed: int = 0
    """Seed of the random orders; it belongs to the weights."""
    scale_bound: float = 5.0
    """Bound on each block's log scales: tanh keeps them within plus and minus this."""


class Model(FlowModel):
    """maf: z = block_n(.. block_1(x)); iaf: x = block_n(.. block_1(z)), with the same blocks."""

    config: Config

    def __init__(self, config: Config) -> None:
        if config.num_blocks < 1:
            raise ValueError(f"num_blocks {config.num_blocks}: accepted are 1 or more")
        if config.num_components < 1 or (config.num_components > 1 and config.direction == "iaf"):
            setting = f"num_components {config.num_components}"
            raise ValueError(f"{setting}: accepted are 1 or more with maf, and 1 with iaf")
        if config.scale_bound <= 0:
            raise ValueError(f"scale_bound {config.scale_bound}: accepted are positive numbers")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout {config.dropout}: accepted are 0 up to, not including, 1")
        if config.direction not in ("maf", "iaf"):
            raise ValueError(f"direction {config.direction!r}: accepted are maf, iaf")
        if config.order not in ("reversed", "random"):
            raise ValueError(f"order {config.order!r}: accepted are reversed, random")
        if config.direction == "iaf" and config.dropout > 0:
            raise ValueError("dropout: accepted is 0 with iaf, whose density takes many passes")
        num_dims = int(torch.Size(config.event_shape).numel())
        outside: list[Transform] = [Flatten(config.event_shape)]
        blocks = [_block(config, num_dims, index) for index in range(config.num_blocks)]
        inner: Transform = Chain(blocks)
        if config.direction == "iaf":
            outside.append(ActNorm((num_dims,)))
            inner = Inverse(inner)
        super().__init__(config, Chain([*outside, inner]))
        entrance = self.flow.parts[0]
        assert isinstance(entrance, Transform)
        self.outside = (entrance, *outside)
        self.blocks = tuple(blocks)

    def graphs(self) -> Mapping[str, Graph]:
        """The graph of the direction that is one pass."""
        name = "log_prob" if self.config.direction == "maf" else "decode"
        return {name: super().graphs()[name]}

    def operations(self) -> Mapping[str, Operation[Any]]:
        if self.config.direction == "maf":
            return {
                **super().operations(),
                "sample": SampleByInversion(self, self.outside, self.blocks),
                "decode": DecodeByInversion(self, self.outside, self.blocks),
            }
        log_likelihood = LogLikelihoodByInversion(self, self.outside, self.blocks)
        operations = {
            **super().operations(),
            **likelihood_operations(self, log_likelihood),
            "encode": EncodeByInversion(self, self.outside, self.blocks),
        }
        # A latent is as many passes as there are dimensions, too many for one step.
        del operations["latent_fit"]
        return operations


def _block(config: Config, num_dims: int, index: int) -> Autoregressive:
    order = torch.arange(num_dims)
    if index and config.order == "random":
        order = permutation(num_dims, config.seed, index)
    elif index % 2:
        order = order.flip(0)
    conditional: Conditional = Affine(config.scale_bound)
    if index == 0 and config.num_components > 1:
        conditional = Mixture(config.num_components, config.scale_bound)
    net = MaskedMLP(
        [wiring(order, config.hidden)],
        1,
        conditional.num_params,
        activation=config.activation,
        residual=config.residual,
        direct=config.direct,
        dropout=config.dropout,
    )
    return Autoregressive(net, conditional)
