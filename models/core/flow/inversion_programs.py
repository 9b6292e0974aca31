"""The operations of flows of autoregressive blocks that need the blocks' slow direction."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.likelihood import Likelihood
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, rows_at, with_rows_at
from models.core.flow.density import FlowDensity
from models.core.flow.inversion import Inversion, InversionParams
from models.core.flow.programs import (
    FlowEncode,
    FlowEncodeParams,
    FlowLogLikelihood,
    FlowLogLikelihoodParams,
    FlowSampleParams,
    latent_noise,
)
from models.core.transforms.autoregressive import Autoregressive
from models.core.transforms.transform import Chain, Transform

P = TypeVar("P", bound=InversionParams)


class ByInversion(Operation[P]):
    """An operation whose steps are passes of an inversion."""

    stops_early = True

    def __init__(
        self, model: FlowDensity, outside: Sequence[Transform], blocks: Sequence[Autoregressive]
    ) -> None:
        """`outside` lies between the events and the blocks, the first next to the events."""
        self.model = model
        self.outputs = columns(x=model.event_shape)
        self.outside = Chain(outside)
        self.inversion = Inversion(blocks)

    def num_steps(self, params: P) -> int:
        return self.inversion.num_passes

    def step(self, rows: Rows) -> Rows:
        return self.inversion.step(rows)

    def _start(self, z: Tensor, params: P) -> Rows:
        return self.inversion.start(z, z.new_zeros(len(z)), params)

    def _event(self, z: Tensor) -> Tensor:
        """What lies at this end of the blocks, or on its way there, as an event."""
        return self.model.to_event(self.outside.inverse(z)[0])


@dataclass(frozen=True)
class SampleByInversionParams(FlowSampleParams, InversionParams):
    """z = temperature * noise, and how the blocks are run backwards from it."""


class SampleByInversion(ByInversion[SampleByInversionParams]):
    """Draw z from the base and decode it."""

    Params = SampleByInversionParams
    needs_events = False

    @property
    def default_params(self) -> SampleByInversionParams:
        return SampleByInversionParams(temperature=self.model.config.temperature)

    @property
    def examples(self) -> tuple[SampleByInversionParams, ...]:
        return (
            SampleByInversionParams(temperature=0.5, method="sequential"),
            SampleByInversionParams(temperature=0.0, tolerance=1e-3),
        )

    def init(self, inputs: Rows, params: SampleByInversionParams) -> Rows:
        return self._start(latent_noise(self.model, inputs["seed"], params.temperature), params)

    def preview(self, rows: Rows) -> Tensor:
        return self._event(rows["guess"])

    def finish(self, rows: Rows) -> Rows:
        return {"x": self._event(rows["target"])}


class DecodeByInversion(ByInversion[InversionParams]):
    """Latents to events."""

    Params = InversionParams
    needs_events = False
    needs_latents = True

    @property
    def examples(self) -> tuple[InversionParams, ...]:
        return (InversionParams("sequential"),)

    def init(self, inputs: Rows, params: InversionParams) -> Rows:
        return self._start(inputs["z"].to(self.model.device), params)

    def preview(self, rows: Rows) -> Tensor:
        return self._event(rows["guess"])

    def finish(self, rows: Rows) -> Rows:
        return {"x": self._event(rows["target"])}


@dataclass(frozen=True)
class EncodeByInversionParams(FlowEncodeParams, InversionParams):
    """Where in its cell an event is taken to lie, and how the blocks are run backwards."""


class EncodeByInversion(ByInversion[EncodeByInversionParams]):
    """Events to latents; decoding gives the event back."""

    Params = EncodeByInversionParams

    def __init__(
        self, model: FlowDensity, outside: Sequence[Transform], blocks: Sequence[Autoregressive]
    ) -> None:
        super().__init__(model, outside, blocks)
        self.outputs = columns(z=(model.num_dims,))

    @property
    def examples(self) -> tuple[EncodeByInversionParams, ...]:
        return (EncodeByInversionParams(dequantise="noise", method="sequential"),)

    def init(self, inputs: Rows, params: EncodeByInversionParams) -> Rows:
        encode = FlowEncode(self.model)
        y = encode.in_cells(encode.init(inputs, params))
        return self._start(self.outside(y)[0], params)

    def finish(self, rows: Rows) -> Rows:
        return {"z": rows["target"]}


@dataclass(frozen=True)
class LogLikelihoodByInversionParams(FlowLogLikelihoodParams, InversionParams):
    """Importance weighting over dequantisation noise, and how the blocks are run backwards."""


class LogLikelihoodByInversion(ByInversion[LogLikelihoodByInversionParams]):
    """`FlowLogLikelihood`, one inversion a noise."""

    Params = LogLikelihoodByInversionParams
    shares_seed = FlowLogLikelihood.shares_seed

    def __init__(
        self, model: FlowDensity, outside: Sequence[Transform], blocks: Sequence[Autoregressive]
    ) -> None:
        super().__init__(model, outside, blocks)
        self.outputs = FlowLogLikelihood.outputs
        self.weighting = FlowLogLikelihood(model)

    @property
    def examples(self) -> tuple[LogLikelihoodByInversionParams, ...]:
        num_samples = 2 if self.model.grid else 1
        return (LogLikelihoodByInversionParams(num_samples=num_samples, method="sequential"),)

    def kind(self, params: LogLikelihoodByInversionParams) -> Likelihood:
        return self.weighting.kind(params)

    def check(self, inputs: Container[str], params: LogLikelihoodByInversionParams) -> None:
        self.weighting.check(inputs, params)

    def num_steps(self, params: LogLikelihoodByInversionParams) -> int:
        return params.num_samples * self.inversion.num_passes

    def init(self, inputs: Rows, params: LogLikelihoodByInversionParams) -> Rows:
        rows = self.weighting.init(inputs, params)
        return {**rows, **self.inversion.start(*self._at_noise(rows), params)}

    def step(self, rows: Rows) -> Rows:
        """A pass; a row that is through adds its weight and goes on with its next noise."""
        passed = self.inversion.step(rows)
        chosen = (passed["done"] & ~rows["done"]).nonzero()[:, 0]
        if len(chosen) == 0:
            return passed
        part = rows_at(passed, chosen)
        log_weight = self.model.base.log_prob(part["target"]) + part["log_abs_det"]
        part = self.weighting.add(part, log_weight)
        part.update(self.inversion.begin(*self._at_noise(part)))
        part["done"] = part["step"] == part["num_samples"].cpu()
        return with_rows_at(passed, chosen, part)

    def _at_noise(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Where the inversion starts for a row's noise, and its log weight up to there."""
        y, log_q = self.model.dequantise(rows["x"], self.weighting.noise(rows))
        h, log_abs_det = self.outside(y)
        return h, log_abs_det - log_q

    def finish(self, rows: Rows) -> Rows:
        return self.weighting.finish(rows)
