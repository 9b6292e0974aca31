"""Sampling from a PixelCNN as a program of one pixel a step."""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from models.core.contract.columns import columns
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.pixelcnn.cached_net import CachedPixelNet


@dataclass(frozen=True)
class PixelSampleParams:
    """Below a temperature of 1 pixels are likelier and less varied than the model's."""

    temperature: Annotated[
        float, Field(gt=0, le=10, description="probabilities are raised to 1 / temperature")
    ] = 1.0


class PixelSample(Operation[PixelSampleParams]):
    """Draw the pixels one after the other, each at the cost of one column of every layer.

    All colours of a pixel are drawn in its step, in turn.

    Column x holds what is drawn so far and 0 elsewhere; above and left hold the cache.
    """

    Params = PixelSampleParams
    needs_events = False
    graphs: tuple[str, ...] = ("row", "pixel")
    given: tuple[str, ...] = ()
    """Columns that both graphs take last: what the image is conditioned on."""
    stream: int = 0
    """Noise stream of the pixels."""

    def __init__(self, model: GenerativeModel, net: CachedPixelNet, temperature: float) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)
        self.net = net
        self.temperature = temperature
        self.takes_label = model.num_classes > 0
        if self.takes_label:
            self.given = ("label", *self.given)

    @property
    def default_params(self) -> PixelSampleParams:
        return PixelSampleParams(self.temperature)

    @property
    def examples(self) -> tuple[PixelSampleParams, ...]:
        return (PixelSampleParams(), PixelSampleParams(0.5))

    def num_steps(self, params: PixelSampleParams) -> int:
        return self.model.num_dims // self.model.event_shape[0]

    def init(self, inputs: Rows, params: PixelSampleParams) -> Rows:
        seed, device = inputs["seed"], self.model.device
        size = num_rows(inputs)
        above, left = self.net.empty(size)
        rows = {
            "step": torch.zeros(size, dtype=torch.int64),
            "x": above.new_zeros(size, *self.model.event_shape),
            "u": uniform(seed, torch.zeros_like(seed), (self.model.num_dims,), self.stream).to(
                device
            ),
            "temperature": torch.full((size,), params.temperature, device=device),
            "above": above,
            "left": left,
        }
        if self.takes_label:
            rows["label"] = inputs.get("label", torch.full((size,), -1)).to(device)
        return rows

    def step(self, rows: Rows) -> Rows:
        """Each row draws its own next pixel."""
        x, above, left = rows["x"], rows["above"], rows["left"]
        given = [rows[name] for name in self.given]
        # Asked on the CPU, where the column step stays, so that no device is waited for.
        begin = (rows["step"] % x.shape[3] == 0).nonzero()[:, 0].to(x.device)
        step = rows["step"].to(x.device)
        if len(begin):
            started = (column[begin] for column in (above, x, step, *given))
            above = above.index_copy(0, begin, self.model.compute("row", *started)[0])
            left = left.index_fill(0, begin, 0.0)
        x, left = self.model.compute(
            "pixel", above, x, step, left, rows["u"], rows["temperature"], *given
        )
        return {**rows, "step": rows["step"] + 1, "x": x, "above": above, "left": left}

    def finish(self, rows: Rows) -> Rows:
        return {"x": rows["x"]}
