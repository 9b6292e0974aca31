"""How far a step of a diffusion sampler goes: a handful of numbers for every row.

All samplers are one formula in z, the predicted clean data x_0, the x_0 predicted a step before,
and fresh noise; they differ in the numbers. So rows of different samplers share a network call.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from models.core.diffusion.schedule import Schedule

SamplerName = Literal["ancestral", "ancestral_posterior", "deterministic", "ddim", "dpm_solver_pp"]
SpacingName = Literal["auto", "even", "quadratic"]
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


def times(num_train_steps: int, steps_left: Tensor, num_steps: Tensor, quadratic: Tensor) -> Tensor:
    """Where a row is with so many steps left: whole times, T at the start and 0 at the end.

    Evenly spaced, or as the square of the steps left (both: Song et al. 2021, arXiv:2010.02502,
    appendix D.2), as far as there are whole times; networks are trained at whole times.
    Shapes: steps_left, num_steps int64 (B,), quadratic bool (B,) -> float64 (B,).
    """
    even = _rounded(steps_left * num_train_steps, num_steps)
    square = _rounded(steps_left.square() * num_train_steps, num_steps.square())
    return torch.where(quadratic, torch.maximum(square, steps_left), even).double()


def coefficients(
    schedule: Schedule, sampler: Tensor, eta: Tensor, before: Tensor, t: Tensor, s: Tensor
) -> Coefficients:
    """Numbers of the step from t to s < t, after one from `before` to t (before = t: the first).

    Every sampler moves along z_s = a_s x_0 + sqrt(b_s^2 - sigma^2) eps + noise of standard
    deviation sigma (Song et al. 2021, arXiv:2010.02502, eq. 12; a and b are alpha_bar and
    beta_bar, eps = (z_t - a_t x_0) / b_t) and sigma = eta times the posterior's
    b_s / b_t sqrt(1 - a_t^2 / a_s^2) (eq. 16). Of these

    - ancestral_posterior is eta = 1 (Ho et al. 2020, arXiv:2006.11239, eqs. 6 and 7);
    - ancestral takes the same mean with noise of the forward step, sqrt(1 - a_t^2 / a_s^2), which
      is beta_t if no time is left out (section 3.2 there);
    - deterministic takes the same mean and no noise;
    - ddim takes eta from the row;
    - dpm_solver_pp is eta = 0 with x_0 extrapolated from the last two predictions, but not in the
      first step and the last (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

    The step to s = 0 adds no noise. Shapes: all (B,) on the CPU, sampler int64.
    """
    a_t, b_t, a_s, b_s = (
        share(time) for time in (t, s) for share in (schedule.alpha_bar, schedule.beta_bar)
    )
    solver = _is(sampler, "dpm_solver_pp")
    eta = torch.where(_is(sampler, "ddim"), eta.double(), torch.where(solver, 0.0, 1.0))
    log_alpha = schedule.log_alpha_bar(t) - schedule.log_alpha_bar(s)
    forward = (-torch.expm1(2 * log_alpha)).sqrt()
    sigma = eta * b_s / b_t * forward
    c_z = (b_s.square() - sigma.square()).clamp(min=0).sqrt() / b_t
    c_x = a_s - a_t * c_z

    c_noise = torch.where(_is(sampler, "ancestral") & (s > 0), forward, sigma)
    c_noise = torch.where(_is(sampler, "deterministic"), 0.0, c_noise)
    extra = torch.where(solver, _extrapolation(schedule, before, t, s), 0.0)
    return Coefficients(t, a_t, b_t, c_z, (1 + extra) * c_x, -extra * c_x, c_noise)


def _extrapolation(schedule: Schedule, before: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """1 / (2 r) of DPM-Solver++(2M), r = last step in log SNR / this one; 0 at both ends."""
    old, now, new = (schedule.log_snr(time) for time in (before, t, s))
    return torch.where((before > t) & (s > 0), (new - now) / (2 * (now - old)), 0.0)


def _rounded(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The nearest whole number, halves up; exact, so that rows agree about their times."""
    return (2 * numerator + denominator) // (2 * denominator)


def _is(sampler: Tensor, name: SamplerName) -> Tensor:
    return sampler == SAMPLERS.index(name)
