"""MADE: one masked network gives every conditional p(x_i given the x before it) in one pass.

Germain et al. 2015, "MADE: masked autoencoder for distribution estimation", arXiv:1502.03509.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.coding.masked import MaskedCodec
from models.core.coding.programs import compression
from models.core.contract.columns import columns
from models.core.contract.grid import Grid, grid_of
from models.core.contract.likelihood import Likelihood
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.contract.setting import KEEPS_WEIGHTS
from models.core.derived.log_likelihood import likelihood_operations
from models.core.distributions.levels import OutputName, output
from models.core.nn.masked import ActivationName, MaskedMLP, permutation, wiring


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are a tiny model of binary images."""

    event_shape: tuple[int, ...] = (1, 3, 3)
    num_levels: int = 2
    output: OutputName = "bernoulli"
    num_components: int = 5
    """Components of a logistic mixture."""
    one_hot: bool = False
    """Whether the network sees levels as indicators; else as numbers in [-1, 1]."""
    hidden: tuple[int, ...] = (24, 24)
    activation: ActivationName = "relu"
    residual: bool = False
    direct: bool = True
    """Connections from the inputs straight to the outputs."""
    dropout: float = 0.0
    num_masks: int = 3
    """Orders and connectivities that share the weights; training draws one of them a step."""
    order: Literal["raster", "mixed", "random"] = "mixed"
    """mixed: the first mask has the raster order, each other one its own random order."""
    seed: int = 0
    """Seed of the orders and connectivities; it belongs to the weights."""
    temperature: float = field(default=1.0, metadata=KEEPS_WEIGHTS)
    """Temperature at which samples are drawn unless a request says otherwise."""


class Model(GenerativeModel):
    """p_k(x) = prod_i p(x_i given the x before it in order k); the ensemble is their mean."""

    likelihood = Likelihood.EXACT
    grid: Grid

    def __init__(self, config: Config) -> None:
        super().__init__()
        grid = grid_of(config.event_shape, config.num_levels)
        if grid is None:
            raise ValueError("num_levels 0: accepted are 2 or more, since the events are discrete")
        if config.num_masks < 1:
            raise ValueError(f"num_masks {config.num_masks}: accepted are 1 or more")
        if config.order not in ("raster", "mixed", "random"):
            raise ValueError(f"order {config.order!r}: accepted are raster, mixed, random")
        if not 0 <= config.dropout < 1:
            raise ValueError(f"dropout {config.dropout}: accepted are 0 up to, not including, 1")
        self.config = config
        self.event_shape = config.event_shape
        self.grid = grid
        self.output = output(config.output, config.num_levels, config.num_components)
        self.net = MaskedMLP(
            [self._wiring(index) for index in range(config.num_masks)],
            config.num_levels if config.one_hot else 1,
            self.output.num_params,
            activation=config.activation,
            residual=config.residual,
            direct=config.direct,
            dropout=config.dropout,
        )

    def _wiring(self, index: int) -> tuple[Tensor, ...]:
        config = self.config
        raster = config.order == "raster" or (config.order == "mixed" and index == 0)
        order = (
            torch.arange(self.num_dims)
            if raster
            else permutation(self.num_dims, config.seed, index)
        )
        return wiring(order, config.hidden, seed=config.seed, index=index, same=config.residual)

    def features(self, levels: Tensor, dtype: torch.dtype) -> Tensor:
        """What the network sees. Shapes: int64 (B, D) -> (B, D * num_features)."""
        if self.config.one_hot:
            indicators = torch.nn.functional.one_hot(levels, self.grid.num_levels)
            return indicators.flatten(1).to(dtype)
        return levels.to(dtype) * (2 / (self.grid.num_levels - 1)) - 1

    def log_prob(self, x: Tensor, mask: int = 0) -> Tensor:
        """log P by one order. Shapes: (B, *event) -> (B,), nats."""
        levels = self.grid.levels(x).flatten(1)
        params = self.net(self.features(levels, x.dtype), mask)
        return self.output.log_prob(params, levels).sum(1)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """-log_prob by an order drawn for the batch. Shapes: x (B, *event) -> (B,), nats."""
        return -self.log_prob(x, int(torch.randint(self.config.num_masks, ())))

    def operations(self) -> Mapping[str, Operation[Any]]:
        log_likelihood = MADELogLikelihood(self)
        codec = MaskedCodec(self.net, self.output, self.features, self.config.num_masks)
        return {
            "sample": MADESample(self),
            **likelihood_operations(self, log_likelihood),
            **compression(self, codec),
        }


def _groups(column: Tensor) -> list[tuple[int, Tensor]]:
    """Each value of a column, and the rows that have it. Shapes: int64 (B,)."""
    return [(int(value), (column == value).nonzero()[:, 0]) for value in column.unique()]


@dataclass(frozen=True)
class MADESampleParams:
    """One dimension a step, in the order of one mask."""

    temperature: Annotated[
        float, Field(gt=0, le=10, description="probabilities are raised to 1 / temperature")
    ] = 1.0
    order: Annotated[int, Field(ge=0, le=1000, description="index of the mask; 0 is the first")] = 0


class MADESample(Operation[MADESampleParams]):
    """Draw the dimensions one after the other, D steps."""

    Params = MADESampleParams
    needs_events = False

    def __init__(self, model: Model) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)

    @property
    def default_params(self) -> MADESampleParams:
        return MADESampleParams(self.model.config.temperature)

    @property
    def examples(self) -> tuple[MADESampleParams, ...]:
        last = self.model.config.num_masks - 1
        return (MADESampleParams(), MADESampleParams(0.5, last), MADESampleParams(2.0))

    def check(self, inputs: Container[str], params: MADESampleParams) -> None:
        super().check(inputs, params)
        if params.order >= self.model.config.num_masks:
            raise ValueError(f"order: accepted are 0 to {self.model.config.num_masks - 1}")

    def num_steps(self, params: MADESampleParams) -> int:
        return self.model.num_dims

    def init(self, inputs: Rows, params: MADESampleParams) -> Rows:
        seed, device = inputs["seed"], self.model.device
        size = num_rows(inputs)
        return {
            "step": torch.zeros(size, dtype=torch.int64),
            "order": torch.full((size,), params.order),
            "x": torch.zeros(size, *self.model.event_shape, device=device),
            "u": uniform(seed, torch.zeros_like(seed), (self.model.num_dims,)).to(device),
            "temperature": torch.full((size,), params.temperature, device=device),
        }

    def step(self, rows: Rows) -> Rows:
        """Each row draws its own next dimension. Column x holds what is drawn so far, 0 else."""
        model, x = self.model, rows["x"].flatten(1).clone()
        for mask, chosen in _groups(rows["order"]):
            here = chosen.to(x.device)
            dim = model.net.order(mask)[rows["step"][chosen].to(x.device)]
            features = model.features(model.grid.levels(x[here]), x.dtype)
            params = model.net.at(features, dim, mask)
            level = model.output.sample(params, rows["u"][here, dim], rows["temperature"][here])
            x[here, dim] = model.grid.values(level)
        return {**rows, "step": rows["step"] + 1, "x": x.view_as(rows["x"])}

    def finish(self, rows: Rows) -> Rows:
        return {"x": rows["x"]}


@dataclass(frozen=True)
class MADELogLikelihoodParams:
    """How many orders are averaged."""

    num_orders: Annotated[
        int, Field(ge=1, le=1000, description="masks whose probabilities are averaged")
    ] = 1


class MADELogLikelihood(Operation[MADELogLikelihoodParams]):
    """log mean_k p_k(x) over the first masks, one a step: a mixture, so itself a distribution."""

    Params = MADELogLikelihoodParams
    outputs = columns(log_prob=())

    def __init__(self, model: Model) -> None:
        self.model = model

    @property
    def default_params(self) -> MADELogLikelihoodParams:
        return MADELogLikelihoodParams(self.model.config.num_masks)

    @property
    def examples(self) -> tuple[MADELogLikelihoodParams, ...]:
        return (MADELogLikelihoodParams(), self.default_params)

    def kind(self, params: MADELogLikelihoodParams) -> Likelihood:
        return self.model.likelihood

    def check(self, inputs: Container[str], params: MADELogLikelihoodParams) -> None:
        super().check(inputs, params)
        if params.num_orders > self.model.config.num_masks:
            raise ValueError(f"num_orders: accepted are 1 to {self.model.config.num_masks}")

    def num_steps(self, params: MADELogLikelihoodParams) -> int:
        return params.num_orders

    def init(self, inputs: Rows, params: MADELogLikelihoodParams) -> Rows:
        x = inputs["x"].to(self.model.device)
        size = num_rows(inputs)
        return {
            "step": torch.zeros(size, dtype=torch.int64),
            "x": x,
            "num_orders": torch.full((size,), params.num_orders, device=x.device),
            "log_sum": torch.full((size,), -torch.inf, device=x.device),
        }

    def step(self, rows: Rows) -> Rows:
        log_prob = torch.empty_like(rows["log_sum"])
        for mask, chosen in _groups(rows["step"]):
            here = chosen.to(log_prob.device)
            log_prob[here] = self.model.log_prob(rows["x"][here], mask)
        log_sum = torch.logaddexp(rows["log_sum"], log_prob)
        return {**rows, "step": rows["step"] + 1, "log_sum": log_sum}

    def finish(self, rows: Rows) -> Rows:
        return {"log_prob": rows["log_sum"] - rows["num_orders"].log()}
