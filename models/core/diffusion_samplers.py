"""How far a step of a diffusion sampler goes: a handful of numbers for every row.

All samplers are one formula in z, the predicted clean data x_0, the x_0 predicted a step before,
and fresh noise; they differ in the numbers. So rows of different samplers share a network call.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from models.core.schedule import Schedule

SamplerName = Literal["ancestral", "ancestral_posterior", "deterministic", "ddim", "dpm_solver_pp"]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
"""A sampler's code is its place here."""


class Coefficients(NamedTuple):
    """z_s = c_z z_t + c_x x_0 + c_previous x_0_previous + c_noise noise, from time t to s < t,
    where x_0 = (z_t - beta_bar eps(z_t, t)) / alpha_bar.

    All float64 (B,) on the CPU.
    """

    t: Tensor
    alpha_bar: Tensor
    beta_bar: Tensor
    c_z: Tensor
    c_x: Tensor
    c_previous: Tensor
    c_noise: Tensor


def times(schedule: Schedule, step: Tensor, num_steps: Tensor) -> Tensor:
    """The time before each step: whole, from T at step 0 down to 0 at num_steps, evenly spaced.

    The network was trained at whole times, and every sampler uses the same ones. Even spacing
    in t suits DPM-Solver++ as well: the noise beta_bar vanishes like t at the end, so that what the
    last step, of first order, neglects is beta_bar(T / num_steps)^2, of second order. Spacing
    even in log SNR would spend a fifth of the steps on noise below a grey level.
    Shapes: step (B,) in [0, num_steps], num_steps (B,) -> float64 (B,).
    """
    left = (num_steps - step) * schedule.num_train_steps
    return ((2 * left + num_steps) // (2 * num_steps)).double()


def coefficients(
    schedule: Schedule, sampler: Tensor, step: Tensor, num_steps: Tensor, eta: Tensor
) -> Coefficients:
    """Of the step from times(step) to times(step + 1).

    Every sampler moves along z_s = a_s x_0 + sqrt(b_s^2 - sigma^2) eps + noise with standard
    deviation sigma (Song et al. 2021, arXiv:2010.02502, eq. 12; a and b are alpha_bar and
    beta_bar, eps = (z_t - a_t x_0) / b_t) and sigma = eta times the posterior's
    b_s / b_t sqrt(1 - a_t^2 / a_s^2) (eq. 16). Of these

    - ancestral_posterior is eta = 1 (Ho et al. 2020, arXiv:2006.11239, eq. 6 and 7);
    - ancestral takes the same mean with noise of the forward step, sqrt(1 - a_t^2 / a_s^2), which
      is beta_t if no time is left out (section 3.2 there);
    - deterministic takes the same mean and no noise;
    - ddim takes eta from the row;
    - dpm_solver_pp is eta = 0 with x_0 extrapolated from the last two predictions, but not in the
      first step and the last (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    The last step adds no noise. Shapes: sampler, step, num_steps (B,) int64 with step in
    [0, num_steps), eta (B,), all on the CPU.
    """
    t, s = (times(schedule, step + i, num_steps) for i in (0, 1))
    a_t, b_t, a_s, b_s = (
        share(time) for time in (t, s) for share in (schedule.alpha_bar, schedule.beta_bar)
    )
    mean_only, ddim = _is(sampler, "deterministic"), _is(sampler, "ddim")
    ancestral, solver = _is(sampler, "ancestral"), _is(sampler, "dpm_solver_pp")
    eta = torch.where(ddim, eta.double(), torch.where(solver, 0.0, 1.0))
    forward = -torch.expm1(2 * (schedule.log_alpha_bar(t) - schedule.log_alpha_bar(s)))
    sigma = eta * b_s / b_t * forward.sqrt()
    c_z = (b_s.square() - sigma.square()).clamp(min=0).sqrt() / b_t
    c_x = a_s - a_t * c_z

    noise = torch.where(ancestral & (s > 0), forward.sqrt(), torch.where(mean_only, 0.0, sigma))
    extra = torch.where(solver, _extrapolation(schedule, step, num_steps), 0.0)
    return Coefficients(t, a_t, b_t, c_z, (1 + extra) * c_x, -extra * c_x, noise)


def _extrapolation(schedule: Schedule, step: Tensor, num_steps: Tensor) -> Tensor:
    """1 / (2 r) of DPM-Solver++(2M), r = last step in log SNR / this one; 0 at both ends."""
    before, now, after = (
        schedule.log_snr(times(schedule, (step + i).clamp(min=0), num_steps)) for i in (-1, 0, 1)
    )
    inside = (step > 0) & (step + 1 < num_steps)
    return torch.where(inside, (after - now) / (2 * (now - before)), 0.0)


def _is(sampler: Tensor, name: SamplerName) -> Tensor:
    return sampler == SAMPLERS.index(name)
