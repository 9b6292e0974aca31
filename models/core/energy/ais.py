"""Annealed importance sampling: the normalising constant of an energy on the unit box.

Neal 2001, "Annealed importance sampling". From the uniform density on [0, 1]^D, whose constant is
1, along exp(-beta E) with beta from 0 to 1. The transitions are Hamiltonian Monte Carlo (Neal 2011)
that bounces off the walls of the box, which keeps volume and reversibility.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.noise import normal, uniform
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows

EnergyAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class AISParams:
    """Length of the annealing path and of the moves along it."""

    num_steps: int = 100
    """Intermediate inverse temperatures, evenly spaced."""
    num_leapfrog: int = 3
    step_size: float = 0.1
    """Length of a leapfrog step, in pixel units."""


class AnnealedImportance(Operation[AISParams]):
    """One chain per row; result log_weight (B,), whose log-mean-exp estimates log Z."""

    Params = AISParams
    needs_events = False
    outputs = columns(log_weight=(), acceptance=())

    def __init__(self, energy_and_grad: EnergyAndGrad, event_shape: tuple[int, ...]) -> None:
        self.energy_and_grad = energy_and_grad
        self.event_shape = event_shape

    def num_steps(self, params: AISParams) -> int:
        return params.num_steps

    def init(self, inputs: Rows, params: AISParams) -> Rows:
        size = num_rows(inputs)
        x = uniform(inputs["seed"], torch.zeros_like(inputs["seed"]), self.event_shape)
        energy, grad = self.energy_and_grad(x)
        return {
            "seed": inputs["seed"],
            "step": torch.zeros(size, dtype=torch.int64),
            "num_steps": torch.full((size,), params.num_steps),
            "num_leapfrog": torch.full((size,), params.num_leapfrog),
            "step_size": torch.full((size,), params.step_size),
            "x": x,
            "energy": energy,
            "grad": grad,
            "log_weight": torch.zeros(size),
            "accepted": torch.zeros(size),
        }

    def step(self, rows: Rows) -> Rows:
        """Raise beta by 1 / num_steps at fixed x, then move at the new beta."""
        step = rows["step"] + 1
        beta = step / rows["num_steps"]
        log_weight = rows["log_weight"] - rows["energy"] / rows["num_steps"]
        shape = (-1, *(1 for _ in self.event_shape))
        beta_, size_ = beta.view(shape), rows["step_size"].view(shape)

        x, energy, grad = rows["x"], rows["energy"], rows["grad"]
        momentum = normal(rows["seed"], step, self.event_shape)
        before = beta * energy + _kinetic(momentum)
        for i in range(int(rows["num_leapfrog"].max())):
            moving = (rows["num_leapfrog"] > i).view(shape)
            half = momentum - 0.5 * size_ * beta_ * grad
            x_new, half = _bounce(x + size_ * half, half)
            energy_new, grad_new = self.energy_and_grad(x_new)
            momentum = torch.where(moving, half - 0.5 * size_ * beta_ * grad_new, momentum)
            x, grad = torch.where(moving, x_new, x), torch.where(moving, grad_new, grad)
            energy = torch.where(moving.view(-1), energy_new, energy)
        log_ratio = before - beta * energy - _kinetic(momentum)
        u = uniform(rows["seed"], step, (1,), stream=1)[:, 0]
        accept = u.log() < log_ratio
        keep = accept.view(shape)
        return {
            **rows,
            "step": step,
            "x": torch.where(keep, x, rows["x"]),
            "energy": torch.where(accept, energy, rows["energy"]),
            "grad": torch.where(keep, grad, rows["grad"]),
            "log_weight": log_weight,
            "accepted": rows["accepted"] + accept,
        }

    def finish(self, rows: Rows) -> Rows:
        return {
            "log_weight": rows["log_weight"],
            "acceptance": rows["accepted"] / rows["num_steps"],
            "x": rows["x"],
        }


def log_mean_exp(log_weight: Tensor) -> tuple[float, float]:
    """log Z and its standard error (delta method), nats. Shape: (B,) -> two numbers."""
    log_weight = log_weight.double()
    log_z = float(log_weight.logsumexp(0)) - math.log(len(log_weight))
    relative = (log_weight - log_z).exp()
    return log_z, float(relative.std() / math.sqrt(len(relative)))


def _kinetic(momentum: Tensor) -> Tensor:
    return 0.5 * momentum.flatten(1).square().sum(1)


def _bounce(x: Tensor, momentum: Tensor) -> tuple[Tensor, Tensor]:
    """Fold x back into [0, 1], turning the momentum round at every odd number of bounces."""
    folded = x.remainder(2)
    back = folded > 1
    # remainder folds a walk through the doubled box; its upper half runs backwards.
    return torch.where(back, 2 - folded, folded), torch.where(back, -momentum, momentum)
