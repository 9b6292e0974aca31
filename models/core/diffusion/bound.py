"""The variational bound of a diffusion model, a term of it a step.

Ho et al. 2020, arXiv:2006.11239, equations 5 and 13; its terms as differences of signal-to-noise
ratios: Kingma et al. 2021, "Variational diffusion models", arXiv:2107.00630, equation 13.
"""

import torch
from torch import Tensor

from models.core.contract.grid import Grid
from models.core.contract.noise import normal, uniform
from models.core.contract.rows import Rows
from models.core.diffusion.density import DiffusionModel

TERM_STREAM = 1
"""Noise stream that chooses terms; images get theirs from stream 0."""


class DiffusionBound:
    """log P(x) >= -KL(q(z_T given x) || N(0, I)) - sum of KLs of the transitions + log decoder.

    The chain p(z_T) prod_i p(z_s given z_t) P(x given z_{t_1}) has fixed variances and num_steps
    evenly spaced whole times; fewer than T make a coarser chain, whose own bound this is. Its means
    come from the expected clean image, cut to [-1, 1]: that is nearer to every image.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        self.schedule = model.schedule

    def prior(self, x: Tensor) -> Tensor:
        """-KL(q(z_T given x) || N(0, I)), exact. Shapes: (B, C, H, W) -> float64 (B,), nats."""
        t = torch.tensor([self.schedule.num_train_steps])
        alpha_bar, beta_bar = self.schedule.alpha_bar(t), self.schedule.beta_bar(t)
        variance = beta_bar.square().to(x.device)
        mean_square = (alpha_bar.to(x.device) * self._clean(x).flatten(1)).square()
        return -0.5 * (mean_square + variance - 1 - variance.log()).sum(1)

    def term(self, rows: Rows, index: Tensor, num_steps: Tensor, is_wide: Tensor) -> Tensor:
        """What transition `index` adds to the bound, at one noise.

        Shapes: index (B,) in 1 .. num_steps (B,), is_wide (B,) bool: the variance of p is beta^2
        of the transition instead of the posterior's, all on the CPU -> float64 (B,), nats.
        """
        x, schedule = rows["x"], self.schedule
        t, s = (self._time(i, num_steps) for i in (index, index - 1))
        alpha_bar, beta_bar = schedule.alpha_bar(t), schedule.beta_bar(t)
        clean = self._clean(x)
        noise = normal(rows["seed"], rows["step"], self.model.event_shape).to(clean)
        z = _times(alpha_bar, clean) + _times(beta_bar, noise)
        (eps,) = self.model.compute("eps", z, t.to(z), rows["label"])
        mean = expected_clean(z, eps, alpha_bar, beta_bar)
        squared_error = (mean - clean).double().square().flatten(1).sum(1)
        scale, rest = self._kl_parts(t, s, is_wide)
        value = -(scale.to(x.device) * squared_error + rest.to(x.device))
        last = (index == 1).nonzero()[:, 0]
        there = last.to(x.device)
        decoded = decoder_log_prob(self.model.grid, x[there], mean[there], beta_bar[last])
        return value.index_copy(0, there, decoded)

    def chosen(self, rows: Rows, place: Tensor, num_terms: Tensor, num_steps: Tensor) -> Tensor:
        """Which transition stands for its stratum, and how many there are in it.

        The decoder is a stratum by itself; the others become wider with time, as terms become
        smaller. All strata are single if num_terms = num_steps. Shapes: place (B,) in 0 ..
        num_terms - 1 (B,), num_steps (B,), on the CPU -> int64 (2, B).
        """
        begin, end = (self._edge(i, num_terms, num_steps) for i in (place - 1, place))
        size = torch.where(place == 0, 1, end - begin)
        u = uniform(rows["seed"], rows["step"], (), TERM_STREAM).double()
        within = (u * size).long().clamp(max=size - 1)
        return torch.stack([torch.where(place == 0, 1, 2 + begin + within), size])

    @staticmethod
    def _edge(i: Tensor, num_terms: Tensor, num_steps: Tensor) -> Tensor:
        """How many transitions after the first there are in strata 1 .. i."""
        share = i.double() / (num_terms - 1).clamp(min=1)
        return torch.maximum(i, ((num_steps - 1) * share.square()).round().long())

    def _time(self, i: Tensor, num_steps: Tensor) -> Tensor:
        """The i-th of num_steps evenly spaced whole times. -> float64 (B,)."""
        return (i.double() * self.schedule.num_train_steps / num_steps).round()

    def _kl_parts(self, t: Tensor, s: Tensor, is_wide: Tensor) -> tuple[Tensor, Tensor]:
        """KL(q(z_s given z_t, x) || p(z_s given z_t)) = scale |x - expected x|^2 + rest."""
        s = s.clamp(min=0.5)  # of the last transition nothing is kept, but it must be finite
        log_ratio = self.schedule.log_alpha_bar(t) - self.schedule.log_alpha_bar(s)
        beta_squared = -torch.expm1(2 * log_ratio)
        wide = self.schedule.beta_bar(t).square()
        narrow = self.schedule.beta_bar(s).square()
        # The mean of q moves by this with x; its variance is beta_squared narrow / wide.
        slope = self.schedule.alpha_bar(s) * beta_squared / wide
        variance = torch.where(is_wide, beta_squared, beta_squared * narrow / wide)
        ratio = narrow / wide
        rest = 0.5 * self.model.num_dims * (ratio - 1 - ratio.log())
        return slope.square() / (2 * variance), torch.where(is_wide, rest, 0.0)

    def _clean(self, x: Tensor) -> Tensor:
        return self.model.from_event(x)


def expected_clean(z: Tensor, eps: Tensor, alpha_bar: Tensor, beta_bar: Tensor) -> Tensor:
    """The clean image that z and its expected noise tell, cut to [-1, 1].

    Shapes: (B, C, H, W), (B, C, H, W), float64 (B,), float64 (B,) -> (B, C, H, W).
    """
    return (_times(1 / alpha_bar, z) - _times(beta_bar / alpha_bar, eps)).clamp(-1, 1)


def decoder_log_prob(grid: Grid, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """A normal's mass in the cells of x, the cells at the ends reaching to infinity.

    Ho et al. 2020, equation 13. Shapes: events x (B, ...), mean (B, ...) in [-1, 1], std float64
    (B,) -> float64 (B,), nats.
    """
    half = 1 / (grid.num_levels - 1)
    level = grid.levels(x)
    distance = 2 * half * level.double() - 1 - mean.double()
    lower = torch.where(level == 0, -torch.inf, distance - half)
    upper = torch.where(level == grid.num_levels - 1, torch.inf, distance + half)
    inverse = 1 / std.to(x.device)
    return _log_mass(_times(inverse, lower), _times(inverse, upper)).flatten(1).sum(1)


def _log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log of a standard normal's mass between two ends, by its lower tail: nothing cancels."""
    is_above = lower + upper > 0
    low, high = torch.where(is_above, -upper, lower), torch.where(is_above, -lower, upper)
    log_high = torch.special.log_ndtr(high)
    return log_high + torch.log1p(-(torch.special.log_ndtr(low) - log_high).exp())


def _times(factor: Tensor, x: Tensor) -> Tensor:
    """x times a number a row. Shapes: (B,), (B, ...) -> (B, ...), of x's dtype and device."""
    return factor.to(x).view(-1, *(1 for _ in x.shape[1:])) * x
