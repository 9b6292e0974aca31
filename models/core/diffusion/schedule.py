"""How fast a diffusion turns data into noise.

z_t = alpha_t z_{t-1} + beta_t eps with alpha_t^2 + beta_t^2 = 1, so that z_t = alpha_bar_t z_0 +
beta_bar_t eps with alpha_bar_t the product of the alphas (Su 2022, "Generative diffusion models
talk (1): DDPM", eqs. 5 to 8). beta_t^2 is the beta_t of Ho et al. 2020, arXiv:2006.11239.
"""

import math
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["reference", "cosine"]

_LARGEST = 0.999  # of beta_t^2: the very last step must not forget everything


class Schedule:
    """alpha_bar and beta_bar at times t from 0, clean data, to T = num_train_steps, all but noise.

    Times may lie between the whole ones: log alpha_bar is linear there, which is the diffusion in
    continuous time with a constant rate between whole times. Everything is float64 on the CPU.
    Raises ValueError for an unknown name or no steps.
    """

    def __init__(self, num_train_steps: int, name: ScheduleName = "reference") -> None:
        if num_train_steps < 1:
            raise ValueError(f"num_train_steps {num_train_steps}: accepted are 1 and more")
        if name not in _VARIANCES:
            raise ValueError(f"schedule {name!r}: accepted are {', '.join(_VARIANCES)}")
        self.num_train_steps = num_train_steps
        variance = _VARIANCES[name](num_train_steps).clamp(max=_LARGEST)
        zero = torch.zeros(1, dtype=torch.float64)
        self._log_alpha_bar = torch.cat([zero, 0.5 * torch.log1p(-variance).cumsum(0)])

    def log_alpha_bar(self, t: Tensor) -> Tensor:
        """Shapes: (B,) in [0, T] -> float64 (B,)."""
        before, fraction = self._place(t)
        table = self._log_alpha_bar
        return table[before] + fraction * (table[before + 1] - table[before])

    def alpha_bar(self, t: Tensor) -> Tensor:
        """The share of the data in z_t. Shapes: (B,) in [0, T] -> float64 (B,) in (0, 1]."""
        return self.log_alpha_bar(t).exp()

    def beta_bar(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise in z_t. Shapes: as above, in [0, 1)."""
        return torch.expm1(2 * self.log_alpha_bar(t)).abs().sqrt()  # a minus would give -0.0

    def log_snr(self, t: Tensor) -> Tensor:
        """log (alpha_bar / beta_bar), half the log of the signal-to-noise ratio; inf at t = 0.

        The lambda_t of Lu et al. 2022, arXiv:2206.00927. Shapes: as above.
        """
        return self.log_alpha_bar(t) - self.beta_bar(t).log()

    def time_of(self, sigma: Tensor) -> Tensor:
        """The time at which the noise is sigma = beta_bar / alpha_bar times the data.

        Shapes: (B,) from 0 -> float64 (B,) in [0, T]. Raises ValueError beyond the last time's.
        """
        log_alpha_bar = -0.5 * torch.log1p(sigma.double().square())
        table = self._log_alpha_bar
        if bool((log_alpha_bar < table[-1]).any()):
            raise ValueError(
                f"sigma {float(sigma.max()):.4g}: accepted are 0 to "
                f"{math.sqrt(math.expm1(-2 * float(table[-1]))):.4g}"
            )
        after = torch.searchsorted(-table, -log_alpha_bar).clamp(min=1)
        return after - (log_alpha_bar - table[after]) / (table[after - 1] - table[after])

    def _place(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The whole time before t, below T, and how far beyond it t is."""
        t = t.double().cpu()
        before = t.floor().clamp(0, self.num_train_steps - 1)
        return before.long(), t - before


def _reference(num_steps: int) -> Tensor:
    """beta_t^2 = 0.02 t / T, as stated for T = 1000 by Su 2022; other T keep the last alpha_bar."""
    t = torch.arange(1, num_steps + 1, dtype=torch.float64)
    return 0.02 * (1000 / num_steps) * t / num_steps


def _cosine(num_steps: int) -> Tensor:
    """Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17."""
    t = torch.arange(num_steps + 1, dtype=torch.float64) / num_steps
    alpha_bar_squared = ((t + 0.008) / 1.008 * math.pi / 2).cos().square()
    return 1 - alpha_bar_squared[1:] / alpha_bar_squared[:-1]


_VARIANCES = {"reference": _reference, "cosine": _cosine}
