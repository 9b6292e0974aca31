"""Stochastic gradient Langevin dynamics: the sampler that trains energy models and serves them.

Welling and Teh 2011; short-run chains from noise: Nijkamp et al. 2019, arXiv:1904.09770;
persistent chains: Tieleman 2008, Du and Mordatch 2019, arXiv:1903.08689; starts at the data:
Hinton 2002; informative starts from a Gaussian per class: Yang and Ji 2021, arXiv:2109.09032.
"""

from collections.abc import Container
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.grid import to_unit
from models.core.contract.noise import normal, uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.energy.density import EnergyDensity
from models.core.nn.conv import class_mask

START_STREAM = 1
"""Noise stream of the starts; the steps use stream 0."""


@dataclass(frozen=True)
class LangevinParams:
    """x <- x - step_size * dE/dx + noise_scale * noise, projected onto the box of events."""

    num_steps: Annotated[int, Field(ge=1, le=10_000, description="Langevin steps")] = 60
    step_size: Annotated[float, Field(gt=0, le=100, description="pixel units squared per nat")] = (
        0.5
    )
    noise_scale: Annotated[
        float, Field(ge=0, le=1, description="standard deviation of a step's noise, pixel units")
    ] = 0.01
    polish_steps: Annotated[
        int, Field(ge=0, le=1_000, description="last steps, run without noise")
    ] = 0
    start: Annotated[
        Literal["noise", "gaussian", "persistent", "data"],
        Field(
            description="uniform noise (short-run), the Gaussian of the class, a chain kept "
            "from training, or the images of the request"
        ),
    ] = "gaussian"


class Langevin(Operation[LangevinParams]):
    """Sample from an energy model, given a class or none.

    The chain's temperature is noise_scale^2 / (2 step_size); only at 1 would it draw from
    exp(-E), and like all short-run samplers of this kind ours runs far below.
    """

    Params = LangevinParams
    needs_events = False
    takes_label = True
    graphs = ("energy_grad",)

    def __init__(self, model: EnergyDensity) -> None:
        self.model = model
        self.outputs = columns(x=model.event_shape)

    @property
    def examples(self) -> tuple[LangevinParams, ...]:
        return (
            self.params(num_steps=3),
            self.params(num_steps=1, start="noise"),
            self.params(num_steps=5, start="persistent", polish_steps=2, step_size=0.3),
            self.params(num_steps=2, start="data", noise_scale=0.05),
        )

    @property
    def default_params(self) -> LangevinParams:
        return self.params()

    def params(self, **changes: Any) -> LangevinParams:
        """The settings of training, changed where named."""
        names = {field.name for field in fields(LangevinParams)}
        config = vars(self.model.config)
        trained = {name: value for name, value in config.items() if name in names}
        return replace(LangevinParams(), **{**trained, **changes})

    def check(self, inputs: Container[str], params: LangevinParams) -> None:
        if params.start == "data" and "x" not in inputs:
            raise ValueError('start "data" needs images or arrays to start from')
        if params.start != "data" and "x" in inputs:
            raise ValueError('images or arrays are accepted with start "data" only')
        if params.start == "persistent" and len(self.model.chains) == 0:
            raise ValueError("this bundle keeps no persistent chains")

    def num_steps(self, params: LangevinParams) -> int:
        return params.num_steps

    def init(self, inputs: Rows, params: LangevinParams) -> Rows:
        seed = inputs["seed"]
        size = num_rows(inputs)
        label = inputs.get("label", torch.full((size,), -1)).cpu()
        if params.start == "data":
            x = inputs["x"]
        else:
            x = getattr(self, f"_{params.start}")(seed, label)
        device = self.model.device
        return {
            "seed": seed,
            "step": torch.zeros(size, dtype=torch.int64),
            "noisy_steps": torch.full((size,), params.num_steps - params.polish_steps),
            "x": x.to(device),
            "label": label.to(device),
            "step_size": torch.full((size,), params.step_size, device=device),
            "noise_scale": torch.full((size,), params.noise_scale, device=device),
        }

    def step(self, rows: Rows) -> Rows:
        x, step = rows["x"], rows["step"] + 1
        mask = class_mask(rows["label"], self.model.num_outputs)
        _, grad = self.model.compute("energy_grad", x, mask)
        noisy = (step <= rows["noisy_steps"]).to(x.device)
        noise = normal(rows["seed"], step, tuple(x.shape[1:])).to(x.device)
        shape = (-1, *(1 for _ in x.shape[1:]))
        noise_scale = torch.where(noisy, rows["noise_scale"], 0.0).view(shape)
        x = x - rows["step_size"].view(shape) * grad + noise_scale * noise
        return {**rows, "x": x.clamp(0, 1), "step": step}

    def finish(self, rows: Rows) -> Rows:
        return {"x": rows["x"]}

    def _noise(self, seed: Tensor, label: Tensor) -> Tensor:
        """Starts uniform on the box. Shapes: (B,), (B,) -> (B, *event)."""
        return uniform(seed, torch.zeros_like(seed), self.model.event_shape, START_STREAM)

    def _gaussian(self, seed: Tensor, label: Tensor) -> Tensor:
        """Starts from the low-rank Gaussian of the label, or of a class drawn evenly."""
        model, zero = self.model, torch.zeros_like(seed)
        u = uniform(seed, zero, (1,), START_STREAM + 1)[:, 0]
        anyone = (u * model.num_outputs).long().clamp(max=model.num_outputs - 1)
        index = torch.where(label < 0, anyone, label)
        mean, factor, std = (
            buffer.cpu()[index].float()
            for buffer in (model.start_mean, model.start_factor, model.start_std)
        )
        z = normal(seed, zero, (factor.shape[1],), START_STREAM + 2)
        eps = normal(seed, zero, (mean.shape[1],), START_STREAM)
        x = mean + torch.einsum("br,brd->bd", z, factor) + std * eps
        return x.clamp(0, 1).view(-1, *model.event_shape)

    def _persistent(self, seed: Tensor, label: Tensor) -> Tensor:
        """Starts at one of the kept chains of the label (any, if there is none of that label)."""
        chain_label = self.model.chain_label.cpu()
        fits = (label[:, None] < 0) | (chain_label == label[:, None])
        fits |= ~fits.any(1, keepdim=True)
        u = uniform(seed, torch.zeros_like(seed), (1,), START_STREAM)[:, 0]
        rank = (u * fits.sum(1)).long() + 1
        # The first chain at which the count of fitting ones reaches the rank.
        index = (fits.cumsum(1) < rank[:, None]).sum(1)
        return to_unit(self.model.chains.cpu()[index])
