"""Every step of our samplers against the schedulers of diffusers."""

from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor

from models.core.contract.noise import normal
from models.core.diffusion.schedule import Schedule
from tests.support.models.diffusion_oracle import gaussian_oracle, sampler_of, started

STEPS = [(20, 20), (1000, 8)]
"""Numbers of steps of training and of sampling, the one a multiple of the other."""


def judge(kind: Any, schedule: Schedule, num_steps: int, **config: Any) -> Any:
    """A scheduler of diffusers with our noise; its betas are the squares of ours."""
    alpha_bar = schedule.alpha_bar(torch.arange(schedule.num_train_steps + 1))
    alphas = (alpha_bar[1:] / alpha_bar[:-1]).square()
    found = kind(
        schedule.num_train_steps,
        trained_betas=(1 - alphas).tolist(),
        timestep_spacing="trailing",
        **config,
    )
    # It keeps float32, in which 1 - alpha_bar^2 has lost three digits at the end.
    found.betas, found.alphas, found.alphas_cumprod = 1 - alphas, alphas, alpha_bar[1:].square()
    found.set_timesteps(num_steps)
    return found


def ddpm_step(theirs: Any, eps: Tensor, index: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of their step, which draws its own noise."""
    noise, after = [], []
    for seed in (0, 1):
        draw = [torch.Generator().manual_seed(seed) for _ in range(2)]
        noise.append(torch.randn(z.shape, generator=draw[0], dtype=z.dtype))
        after.append(theirs.step(eps, index, z, generator=draw[1]).prev_sample)
    std = (after[0] - after[1]) / (noise[0] - noise[1])
    return after[0] - std * noise[0], std


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(("num_train_steps", "num_steps"), STEPS)
@pytest.mark.parametrize(
    ("sampler", "variance"),
    [
        ("ancestral", "fixed_large"),
        ("ancestral_posterior", "fixed_small"),
        ("deterministic", "fixed_small"),
    ],
)
@torch.no_grad()
def test_ancestral_steps(
    sampler: str, variance: str, num_train_steps: int, num_steps: int, clip: bool
) -> None:
    model = gaussian_oracle(0.3, 0.9, schedule=Schedule(num_train_steps)).double()
    theirs = judge(
        DDPMScheduler, model.schedule, num_steps, variance_type=variance, clip_sample=clip
    )
    operation = sampler_of(model, sampler=sampler, num_steps=num_steps, clip=clip)
    rows = started(operation)
    for i, index in enumerate(theirs.timesteps):
        t = torch.full((2,), float(index) + 1)
        mean, std = ddpm_step(theirs, model.eps(rows["z"], t, rows["label"]), index, rows["z"])
        noise = normal(rows["seed"], rows["step"] + 1, model.event_shape)
        # Ours ends without noise even where times are left out.
        noisy = sampler != "deterministic" and i + 1 < num_steps
        rows = operation.step(rows)
        expected = mean + std * noise if noisy else mean
        torch.testing.assert_close(rows["z"], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(("num_train_steps", "num_steps"), STEPS)
@torch.no_grad()
def test_ddim_steps(num_train_steps: int, num_steps: int, eta: float, clip: bool) -> None:
    model = gaussian_oracle(0.3, 0.9, schedule=Schedule(num_train_steps, "cosine")).double()
    theirs = judge(DDIMScheduler, model.schedule, num_steps, clip_sample=clip)
    operation = sampler_of(model, sampler="ddim", num_steps=num_steps, eta=eta, clip=clip)
    rows = started(operation)
    for index in theirs.timesteps:
        t = torch.full((2,), float(index) + 1)
        expected = theirs.step(
            model.eps(rows["z"], t, rows["label"]),
            index,
            rows["z"],
            eta=eta,
            use_clipped_model_output=True,
            variance_noise=normal(rows["seed"], rows["step"] + 1, model.event_shape),
        ).prev_sample
        rows = operation.step(rows)
        torch.testing.assert_close(rows["z"], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("spacing", ["even", "quadratic"])
@pytest.mark.parametrize(("num_train_steps", "num_steps"), [*STEPS, (1000, 20)])
@torch.no_grad()
def test_dpm_solver_steps(num_train_steps: int, num_steps: int, spacing: str) -> None:
    model = gaussian_oracle(0.3, 0.9, schedule=Schedule(num_train_steps)).double()
    operation = sampler_of(model, sampler="dpm_solver_pp", num_steps=num_steps, spacing=spacing)
    theirs = judge(DPMSolverMultistepScheduler, model.schedule, num_steps, final_sigmas_type="zero")
    rows = started(operation, num_steps)
    t = operation.coefficients({**rows, "step": torch.arange(num_steps)}).t
    theirs.set_timesteps(timesteps=(t - 1).long().tolist())
    alpha_bar, beta_bar = model.schedule.alpha_bar(t), model.schedule.beta_bar(t)
    theirs.sigmas = torch.cat([beta_bar / alpha_bar, theirs.sigmas[-1:]])  # float32 again
    for index in theirs.timesteps:
        eps = model.eps(rows["z"], (index + 1.0).expand(num_steps), rows["label"])
        expected = theirs.step(eps, index, rows["z"]).prev_sample
        rows = operation.step(rows)
        torch.testing.assert_close(rows["z"], expected, atol=1e-6, rtol=1e-6)
