"""Residual blocks run backwards as programs of network passes, each row to its own end.

The fixed point of x = z - g(x), block after block (Behrmann et al. 2019, arXiv:1811.00995,
algorithm 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, rows_at, with_rows_at
from models.core.flow.density import FlowDensity
from models.core.flow.programs import FlowSampleParams, latent_noise
from models.core.transforms.residual import ResidualBlock
from models.core.transforms.transform import Transform


@dataclass(frozen=True)
class ContractionParams:
    """How exactly the blocks are run backwards."""

    tolerance: Annotated[
        float,
        Field(
            ge=1e-8,
            le=0.01,
            description="largest change a pass at which a block's inverse stands, relative to the "
            "largest value there if that is above 1",
        ),
    ] = 3e-7


P = TypeVar("P", bound=ContractionParams)


class Contraction(Operation[P]):
    """A program whose steps are passes through the block that a row is at.

    Columns of bookkeeping stay on the CPU. Each pass brings a block's inverse nearer by the factor
    Lip(g) at least, so that the number of passes is bounded beforehand.
    """

    stops_early = True

    def __init__(
        self,
        model: FlowDensity,
        ends: tuple[Transform, Transform],
        blocks: Sequence[ResidualBlock],
    ) -> None:
        """The flow is `blocks` between the `ends`; the last block is the first to be inverted."""
        self.model = model
        self.outputs = columns(x=model.event_shape)
        self.before, self.after = ends
        self.blocks = list(reversed(blocks))

    def num_steps(self, params: P) -> int:
        return sum(block.num_passes(params.tolerance) for block in self.blocks)

    def start(self, z: Tensor, params: P) -> Rows:
        """The columns before the first pass. Shapes: z (B, D)."""
        target, size = self.after.inverse(z)[0], len(z)
        return {
            "target": target,
            "guess": target,
            "tolerance": torch.full((size,), params.tolerance, dtype=z.dtype, device=z.device),
            "limit": torch.full((size,), self.blocks[0].num_passes(params.tolerance)),
            "block": torch.zeros(size, dtype=torch.int64),
            "pass": torch.zeros(size, dtype=torch.int64),
            "done": torch.zeros(size, dtype=torch.bool),
        }

    def step(self, rows: Rows) -> Rows:
        """One pass for every row that is not done; then column target is the inverse."""
        result = rows
        for index, block in enumerate(self.blocks):
            here = (~rows["done"] & (rows["block"] == index)).nonzero()[:, 0]
            if len(here) > 0:
                result = with_rows_at(result, here, self._passed(block, rows_at(rows, here)))
        return result

    def _passed(self, block: ResidualBlock, rows: Rows) -> Rows:
        """The columns after a pass: on to the next block where this one's inverse is found."""
        guess, still = block.refined(rows["target"], rows["guess"], rows["tolerance"])
        num = rows["pass"] + 1
        over = still.cpu() | (num == rows["limit"])
        ended = over.to(guess.device)[:, None]
        h = block.leave(guess)
        return {
            "target": torch.where(ended, h, rows["target"]),
            "guess": torch.where(ended, h, guess),
            "block": rows["block"] + over,
            "pass": torch.where(over, 0, num),
            "done": over & (rows["block"] + 1 == len(self.blocks)),
        }

    def preview(self, rows: Rows) -> Tensor:
        return self._event(rows["guess"])

    def finish(self, rows: Rows) -> Rows:
        return {"x": self._event(rows["target"])}

    def _event(self, z: Tensor) -> Tensor:
        """What lies at this end of the blocks, or on its way there, as an event."""
        return self.model.to_event(self.before.inverse(z)[0])


@dataclass(frozen=True)
class SampleByContractionParams(FlowSampleParams, ContractionParams):
    """z = temperature * noise, and how exactly the blocks are run backwards from it."""


class SampleByContraction(Contraction[SampleByContractionParams]):
    """Draw z from the base and decode it."""

    Params = SampleByContractionParams
    needs_events = False

    @property
    def default_params(self) -> SampleByContractionParams:
        return SampleByContractionParams(temperature=self.model.config.temperature)

    @property
    def examples(self) -> tuple[SampleByContractionParams, ...]:
        return (
            SampleByContractionParams(temperature=0.5),
            SampleByContractionParams(temperature=0.0, tolerance=1e-3),
        )

    def init(self, inputs: Rows, params: SampleByContractionParams) -> Rows:
        return self.start(latent_noise(self.model, inputs["seed"], params.temperature), params)


class DecodeByContraction(Contraction[ContractionParams]):
    """Latents to events."""

    Params = ContractionParams
    needs_events = False
    needs_latents = True

    @property
    def examples(self) -> tuple[ContractionParams, ...]:
        return (ContractionParams(1e-5),)

    def init(self, inputs: Rows, params: ContractionParams) -> Rows:
        return self.start(inputs["z"].to(self.model.device), params)
