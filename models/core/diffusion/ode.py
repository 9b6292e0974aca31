"""The likelihood of a diffusion model by its probability-flow ODE, a Runge-Kutta stage a step.

Song et al. 2021, "Score-based generative modeling through stochastic differential equations",
arXiv:2011.13456, equations 39 and 40; the trace by random probes: Grathwohl et al. 2019, "FFJORD",
arXiv:1810.01367.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from models.core.contract.noise import normal, uniform
from models.core.contract.rows import Rows
from models.core.diffusion.bound import decoder_log_prob
from models.core.diffusion.density import DiffusionModel

NUM_STAGES = 4
"""Stages of the classical Runge-Kutta method, each with one look at the network."""
PROBE_STREAM = 1
"""Noise stream of the probes; images get theirs from stream 0."""

_PLACE = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=torch.float64)
_WEIGHT = torch.tensor([1 / 6, 1 / 3, 1 / 3, 1 / 6], dtype=torch.float64)


class FlowOde:
    """log P(x) >= E_q[log p(y) + log P(x given y) - log q(y given x)], q = N(x, sigma_1^2).

    y = z / alpha_bar is the clean image plus sigma eps with sigma = beta_bar / alpha_bar, and
    dy / d log sigma = sigma eps(z, t). The model meant draws z_T from N(0, I), follows this flow
    down to t = 1, the least noise that the network knows, and decodes as the variational bound
    does; p is the density of y that the flow gives at t = 1. q, the diffusion's own noise, stands
    where other models dequantise.

    Columns y, at_stage and slope, float64 (B, C, H, W): where the row is, where its next stage
    looks, and the weighted sum of the slopes of this step's stages.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.model = model
        num_train_steps = model.schedule.num_train_steps
        self._log_alpha_bars = model.schedule.log_alpha_bar(torch.arange(num_train_steps + 1))
        self._low, self._high = (
            -float(model.schedule.log_snr(torch.tensor([t]))) for t in (1, num_train_steps)
        )

    def columns(self, x: Tensor) -> Rows:
        """The columns before the first stage. Shapes: x (B, C, H, W)."""
        return dict.fromkeys(("y", "at_stage", "slope"), torch.zeros_like(x, dtype=torch.float64))

    def stage(self, rows: Rows, place: Tensor, num_steps: Tensor, num_probes: int) -> Rows:
        """Rows after a stage, their share of log P as `value`, and the variance of that as `noise`.

        Shapes: place (B,), stages before this one, below NUM_STAGES * num_steps (B,), on the CPU
        -> value and noise float64 (B,), nats.
        """
        size = (self._high - self._low) / num_steps
        stage = place % NUM_STAGES
        log_sigma = self._low + size * (place // NUM_STAGES + _PLACE[stage])
        rows = self._begun(rows, place)
        slope, trace, variance = self._field(rows, log_sigma, num_probes)
        weight = (size * _WEIGHT[stage]).to(trace)
        value = weight * trace + self._at_the_bottom(rows, slope, place)
        rows = {**rows, **_moved(rows, slope, stage, size)}
        value += self._at_the_top(rows["y"], place == NUM_STAGES * num_steps - 1)
        return {**rows, "value": value, "noise": weight.square() * variance}

    def _begun(self, rows: Rows, place: Tensor) -> Rows:
        """The rows, those at their first stage placed at x + sigma_1 eps."""
        first = _first(place)
        if len(first) == 0:
            return rows
        there = first.to(rows["x"].device)
        y = self._clean(rows["x"][there]) + math.exp(self._low) * self._noise(rows, first)
        moved = {name: rows[name].index_copy(0, there, y) for name in ("y", "at_stage")}
        return {**rows, **moved}

    def _field(
        self, rows: Rows, log_sigma: Tensor, num_probes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """dy / d log sigma, its divergence, a mean over probes, and the variance of that mean.

        Probes are fresh in every stage: the divergence does not act on the flow, so that the
        estimate stays unbiased, and the errors of the stages average out.
        """
        log_alpha_bar = -0.5 * softplus(2 * log_sigma)
        beta_bar = (log_sigma + log_alpha_bar).exp()
        x, y = rows["x"], rows["at_stage"]
        z = (_rowwise(log_alpha_bar.exp(), y) * y).to(x.dtype)
        eps, traces = divergence(
            self.model, z, self._time(log_alpha_bar), rows["label"], self._probes(rows, num_probes)
        )
        traces = beta_bar.to(traces) * traces
        slope = _rowwise(log_sigma.exp(), y) * eps.double()
        return slope, traces.mean(0), traces.var(0) / num_probes

    def _time(self, log_alpha_bar: Tensor) -> Tensor:
        """The time of this log alpha_bar. Shapes: float64 (B,) -> (B,) in [1, T], on the CPU."""
        table, last = self._log_alpha_bars, len(self._log_alpha_bars) - 1
        after = torch.searchsorted(-table, -log_alpha_bar).clamp(1, last)
        fraction = (table[after - 1] - log_alpha_bar) / (table[after - 1] - table[after])
        return (after - 1 + fraction).clamp(1, last)

    def _at_the_bottom(self, rows: Rows, slope: Tensor, place: Tensor) -> Tensor:
        """log P(x given y) - log q(y given x) of rows at their first stage, of others 0. (B,)."""
        first = _first(place)
        zero = torch.zeros(len(place), dtype=torch.float64, device=slope.device)
        if len(first) == 0:
            return zero
        there = first.to(slope.device)
        x, eps = rows["x"][there], self._noise(rows, first).flatten(1)
        log_q = -(0.5 * eps.square() + 0.5 * math.log(2 * math.pi) + self._low).sum(1)
        # The slope is sigma eps, so this is the expected clean image, as in the bound.
        mean = (rows["y"] - slope)[there].clamp(-1, 1)
        std = self.model.schedule.beta_bar(torch.ones(len(first)))
        log_ratio = decoder_log_prob(self.model.grid, x, mean, std) - log_q
        return zero.index_copy(0, there, log_ratio)

    def _at_the_top(self, y: Tensor, arrived: Tensor) -> Tensor:
        """log density of y where z = alpha_bar y is standard normal, of others 0. -> (B,)."""
        log_alpha_bar = float(self._log_alpha_bars[-1])
        z = math.exp(log_alpha_bar) * y.flatten(1)
        log_prob = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi) + log_alpha_bar).sum(1)
        return torch.where(arrived.to(y.device), log_prob, 0.0)

    def _clean(self, x: Tensor) -> Tensor:
        return self.model.from_event(x).double()

    def _noise(self, rows: Rows, first: Tensor) -> Tensor:
        """eps of the passes that begin now. Shapes: first (N,) -> float64 (N, C, H, W)."""
        noise = normal(rows["seed"][first], rows["step"][first], self.model.event_shape)
        return noise.to(rows["y"])

    def _probes(self, rows: Rows, num_probes: int) -> Tensor:
        """Random signs, the probes of `divergence`. -> (num_probes, B, C, H, W)."""
        shape = (num_probes, *self.model.event_shape)
        u = uniform(rows["seed"], rows["step"], shape, PROBE_STREAM).transpose(0, 1)
        return torch.where(u < 0.5, -1.0, 1.0).to(rows["x"])


def divergence(
    model: DiffusionModel, z: Tensor, t: Tensor, label: Tensor, probes: Tensor
) -> tuple[Tensor, Tensor]:
    """eps and v^T (d eps / dz) v of each probe v, whose mean is the trace if E v v^T = I.

    Shapes: z (B, C, H, W), t (B,), label (B,), probes (P, B, C, H, W) -> (B, C, H, W), float64
    (P, B).
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        eps = model.eps(z, t.to(z), label)
        # Rows are independent, so the gradient of the sum holds each row's own.
        grads = [torch.autograd.grad(eps, z, v, retain_graph=True)[0] for v in probes]
    values = [(v * grad).double().flatten(1).sum(1) for v, grad in zip(probes, grads, strict=True)]
    return eps.detach(), torch.stack(values)


def _moved(rows: Rows, slope: Tensor, stage: Tensor, size: Tensor) -> Rows:
    """The columns after a stage of the classical method, each of whose stages begins at y and goes
    along the slope of the stage before."""
    y = rows["y"]
    total = rows["slope"] + _rowwise(_WEIGHT[stage], y) * slope
    ended = y + _rowwise(size, y) * total
    halfway = y + _rowwise(size * _PLACE[(stage + 1) % NUM_STAGES], y) * slope
    last = _rowwise(stage == NUM_STAGES - 1, y) > 0
    return {
        "y": torch.where(last, ended, y),
        "at_stage": torch.where(last, ended, halfway),
        "slope": torch.where(last, 0.0, total),
    }


def _first(place: Tensor) -> Tensor:
    """Which rows are at their first stage. -> int64 (N,), on the CPU."""
    return (place == 0).nonzero()[:, 0]


def _rowwise(factor: Tensor, x: Tensor) -> Tensor:
    """A number a row, to multiply with. Shapes: (B,), x (B, ...) -> (B, 1, ...) as x is."""
    return factor.to(x).view(-1, *(1 for _ in x.shape[1:]))
