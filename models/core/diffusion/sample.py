"""Sampling from a diffusion model, whichever sampler a row asks for."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.noise import normal
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from models.core.diffusion.coefficients import (
    SAMPLERS,
    Coefficients,
    SamplerName,
    SpacingName,
    coefficients,
    times,
)
from models.core.diffusion.density import DiffusionModel


@dataclass(frozen=True)
class DiffusionSampleParams:
    """What is asked of the network is the same for all samplers: num_steps evaluations."""

    sampler: Annotated[
        SamplerName,
        Field(
            description="ancestral: noise of the forward step; ancestral_posterior: noise of the "
            "posterior given clean data; deterministic: the ancestral mean, without noise; ddim: "
            "noise by eta; dpm_solver_pp: DPM-Solver++(2M), for few steps"
        ),
    ] = "ddim"
    num_steps: Annotated[
        int,
        Field(
            ge=1, le=10_000, description="of one network evaluation each; at most the T of training"
        ),
    ] = 50
    spacing: Annotated[
        SpacingName,
        Field(
            description="of the times: quadratic has more of them near the end, where little noise "
            "is left; auto is quadratic for dpm_solver_pp and even for the others"
        ),
    ] = "auto"
    eta: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="of ddim: 0 adds no noise, 1 as much as ancestral_posterior; other "
            "samplers ignore it",
        ),
    ] = 0.0
    guidance_scale: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="how much further than to its label a sample is pushed: 1 as trained, "
            "0 ignores the label; other values look at the image twice a step",
        ),
    ] = 1.0
    clip: Annotated[
        bool, Field(description="keep the predicted clean image within the range of pixels")
    ] = True


class DiffusionSample(Operation[DiffusionSampleParams]):
    """From noise to an image in num_steps steps.

    Samplers, numbers of steps, eta and guidance are columns: rows that differ in all of them, at
    different steps, share one network call. What each sampler does is in
    `models.core.diffusion.coefficients`; three things to know when choosing one:

    - "deterministic" (the mean of the reference's ancestral step, eq. 16 of Su 2022) forgets where
      it came from: Gaussian data of standard deviation s come back, whatever the number of steps,
      with alpha_bar_T s^2 / (alpha_bar_T^2 s^2 + beta_bar_T^2), which is next to none. It is here
      to be looked at; "ddim" with eta = 0 is the one without noise that keeps the spread.
    - "ancestral" leaves noise behind, "ancestral_posterior" loses variance if times are left out;
      with all of T both are right, and slow.
    - "dpm_solver_pp" is of second order if its times are quadratic, "ddim" of first.
    """

    Params = DiffusionSampleParams
    needs_events = False
    graphs = ("eps",)

    def __init__(self, model: DiffusionModel, defaults: DiffusionSampleParams) -> None:
        """Raises ValueError if the model cannot do what `defaults` say."""
        self.model = model
        self.outputs = columns(x=model.event_shape)
        self.defaults = defaults
        self.takes_label = model.num_classes > 0
        if defaults.sampler not in SAMPLERS:
            raise ValueError(f"sampler {defaults.sampler!r}: accepted are {', '.join(SAMPLERS)}")
        if not 0 <= defaults.eta <= 1:
            raise ValueError(f"eta {defaults.eta}: accepted are 0 to 1")
        if defaults.guidance_scale < 0:
            raise ValueError(f"guidance_scale {defaults.guidance_scale}: accepted are 0 and more")
        self._check_num_steps(defaults)

    @property
    def default_params(self) -> DiffusionSampleParams:
        return self.defaults

    @property
    def examples(self) -> tuple[DiffusionSampleParams, ...]:
        most = self.model.schedule.num_train_steps
        plain = DiffusionSampleParams(num_steps=min(3, most))
        guided = (
            replace(plain, sampler="ancestral_posterior", guidance_scale=3.0),
            replace(plain, sampler="dpm_solver_pp", guidance_scale=0.0),
        )
        return (
            replace(plain, sampler="ancestral"),
            replace(plain, sampler="dpm_solver_pp", num_steps=most),
            replace(plain, sampler="ancestral_posterior", num_steps=1),
            *(guided if self.takes_label else ()),
            replace(plain, sampler="deterministic", clip=False),
            replace(plain, sampler="dpm_solver_pp"),
            replace(plain, eta=0.5, clip=False, spacing="quadratic"),
        )

    def check(self, inputs: Container[str], params: DiffusionSampleParams) -> None:
        self._check_num_steps(params)
        # The model's own scale is for requests with a label, and harmless without.
        if params.guidance_scale in (1.0, self.defaults.guidance_scale):
            return
        if not self.takes_label:
            raise ValueError("guidance_scale: accepted is 1, since this model takes no label")
        labelled = "label" in inputs
        if isinstance(inputs, Mapping) and labelled:
            labelled = bool((inputs["label"] >= 0).any())
        if not labelled:
            raise ValueError("guidance_scale: accepted with a label only")

    def _check_num_steps(self, params: DiffusionSampleParams) -> None:
        most = self.model.schedule.num_train_steps
        if not 1 <= params.num_steps <= most:
            raise ValueError(f"num_steps {params.num_steps}: accepted are 1 to {most}")

    def num_steps(self, params: DiffusionSampleParams) -> int:
        return params.num_steps

    def init(self, inputs: Rows, params: DiffusionSampleParams) -> Rows:
        """What coefficients are computed from stays on the CPU, where noise is drawn too."""
        seed, device, size = inputs["seed"], self.model.device, num_rows(inputs)
        dtype = next(self.model.parameters()).dtype
        noise = normal(seed, torch.zeros_like(seed), self.model.event_shape)
        z = noise.to(dtype).to(device)
        quadratic = params.spacing == "quadratic"
        quadratic |= params.spacing == "auto" and params.sampler == "dpm_solver_pp"
        label = inputs.get("label", torch.full((size,), -1)) if self.takes_label else None
        return {
            "seed": seed,
            "step": torch.zeros(size, dtype=torch.int64),
            "sampler": torch.full((size,), SAMPLERS.index(params.sampler)),
            "num_steps": torch.full((size,), params.num_steps),
            "quadratic": torch.full((size,), quadratic),
            "eta": torch.full((size,), params.eta, dtype=torch.float64),
            "z": z,
            "x_0": torch.zeros_like(z),
            "label": torch.full((size,), -1, device=device) if label is None else label.to(device),
            "guidance_scale": torch.full((size,), params.guidance_scale, device=device),
            "clip": torch.full((size,), params.clip, device=device),
        }

    def step(self, rows: Rows) -> Rows:
        """One network call and one formula for every row."""
        z, step = rows["z"], rows["step"]
        exact = self.coefficients(rows)
        on_device = Coefficients(*torch.stack(exact).to(z.dtype).to(z.device))
        eps = self.model.denoise(z, on_device.t, rows["label"], rows["guidance_scale"])
        c = Coefficients(*(number.view(-1, 1, 1, 1) for number in on_device))
        x_0 = (z - c.beta_bar * eps) / c.alpha_bar
        x_0 = torch.where(rows["clip"].view(-1, 1, 1, 1), x_0.clamp(-1, 1), x_0)
        z = c.c_z * z + c.c_x * x_0 + c.c_previous * rows["x_0"]
        noisy = exact.c_noise.nonzero()[:, 0]
        if len(noisy):
            noise = normal(rows["seed"][noisy], step[noisy] + 1, self.model.event_shape)
            noise, noisy = noise.to(z.dtype).to(z.device), noisy.to(z.device)
            z = z.index_add(0, noisy, c.c_noise[noisy] * noise)
        return {**rows, "step": step + 1, "z": z, "x_0": x_0}

    def coefficients(self, rows: Rows) -> Coefficients:
        """Coefficients of the step that each row takes next."""
        schedule, num_steps = self.model.schedule, rows["num_steps"]
        left = num_steps - rows["step"]
        before, t, s = (
            times(schedule.num_train_steps, steps_left, num_steps, rows["quadratic"])
            for steps_left in (torch.minimum(left + 1, num_steps), left, left - 1)
        )
        return coefficients(schedule, rows["sampler"], rows["eta"], before, t, s)

    def preview(self, rows: Rows) -> Tensor:
        """The clean image as the network sees it so far: z itself is noise nearly to the end."""
        return self.model.to_event(rows["x_0"])

    def finish(self, rows: Rows) -> Rows:
        """Between the levels of the grid: rounding here could turn a row's last digit, which may
        depend on its company, into another level."""
        return {"x": self.model.to_event(rows["z"]).float()}
