"""What a denoiser says of an image as it is: how much noise it finds, and how well it finds some.

Mahmood et al. 2021, "Multiscale score matching for out-of-distribution detection",
arXiv:2010.13132; the error in finding a noise is one step of what Graham et al. 2023,
arXiv:2211.07740, do with many.
"""

import torch

from models.core.contract.columns import columns
from models.core.contract.noise import normal
from models.core.contract.one_shot import OneShot
from models.core.contract.rows import Rows, num_rows
from models.core.diffusion.density import DiffusionModel

NUM_NORMS = 8


LEAST_SIGMA = 0.01


LARGEST_SIGMA = 1.0


ERROR_SIGMAS = slice(3, 7)
"""Levels at which noise is put in: below them it is lost, above them it is all that is seen."""


_NOISE_SEED = 2010


_LEAST = 1e-12  # of a norm: its logarithm stays finite


class Denoise(OneShot):
    """Columns noise_norms (B, 8) and noise_errors (B, 4), by one network call for all levels.

    noise_norms: log |eps(alpha_bar x, t)|, the norm of the score times sigma, of the image without
    noise. noise_errors: log |eps(alpha_bar x + beta_bar e, t) - e|^2, of one e for all images, so
    that an image has the same numbers every time. The levels sigma = beta_bar / alpha_bar go from
    0.01 (or the schedule's first time, if that is later) to 1 in equal ratios; pixels are in
    [-1, 1].
    """

    def __init__(self, model: DiffusionModel) -> None:
        super().__init__(
            model,
            self._denoise,
            outputs=columns(
                noise_norms=(NUM_NORMS,), noise_errors=(ERROR_SIGMAS.stop - ERROR_SIGMAS.start,)
            ),
            graphs=("eps",),
        )
        self.diffusion = model
        # The network was never shown earlier times than the first.
        first = float((-model.schedule.log_snr(torch.ones(1))).exp())
        least = min(max(LEAST_SIGMA, first), LARGEST_SIGMA)
        exponents = torch.linspace(0, 1, NUM_NORMS, dtype=torch.float64)
        times = model.schedule.time_of(least * (LARGEST_SIGMA / least) ** exponents).clamp(min=1)
        self.times = torch.cat([times, times[ERROR_SIGMAS]])
        seed = torch.tensor([_NOISE_SEED])
        self.noise = normal(seed, torch.zeros_like(seed), model.event_shape)[0]

    def _denoise(self, rows: Rows) -> Rows:
        model, size = self.diffusion, num_rows(rows)
        clean = model.from_event(rows["x"])
        levels = len(self.times)
        alpha_bar, beta_bar = (
            share.to(clean).view(-1, 1, 1, 1)
            for share in (model.schedule.alpha_bar(self.times), model.schedule.beta_bar(self.times))
        )
        noise = self.noise.to(clean)
        is_noisy = (torch.arange(levels, device=clean.device) >= NUM_NORMS).view(-1, 1, 1, 1)
        # Rows by levels by pixels.
        z = alpha_bar * clean[:, None] + torch.where(is_noisy, beta_bar * noise, 0.0)
        t = self.times.to(clean).repeat(size)
        label = torch.full((size * levels,), -1, device=clean.device)
        (eps,) = model.compute("eps", z.flatten(0, 1), t, label)
        eps = eps.unflatten(0, (size, levels)).double()
        # Without noise, what is left is eps itself.
        left = torch.where(is_noisy, eps - noise, eps).flatten(2).norm(dim=2)
        log_norm = left.clamp(min=_LEAST).log()
        norms, errors = log_norm.split([NUM_NORMS, levels - NUM_NORMS], 1)
        return {"noise_norms": norms.float(), "noise_errors": (2 * errors).float()}
