"""Distributions of one discrete value given a network's numbers: what autoregressive models emit.

All of them know the probability of every level, and draw by inverting the distribution function
at one uniform number, so that a sample is a function of its noise.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

OutputName = Literal["bernoulli", "categorical", "logistic_mixture"]


class Output(ABC):
    """A family of distributions over levels 0 .. num_levels - 1."""

    num_params: int
    """Numbers that the network gives for each value."""

    def __init__(self, num_levels: int) -> None:
        self.num_levels = num_levels

    @abstractmethod
    def log_prob(self, params: Tensor, level: Tensor) -> Tensor:
        """Shapes: (..., num_params), int64 (...) -> (...), nats."""

    @abstractmethod
    def log_probs(self, params: Tensor) -> Tensor:
        """log P of every level. Shapes: (..., num_params) -> (..., num_levels), nats."""

    def sample(self, params: Tensor, u: Tensor, temperature: Tensor) -> Tensor:
        """The level at which the distribution function exceeds u.

        Probabilities are raised to 1 / temperature first. Shapes: (..., num_params), u (...) in
        [0, 1), temperature (...) -> int64 (...).
        """
        probabilities = (self.log_probs(params) / temperature.unsqueeze(-1)).softmax(-1)
        below = probabilities.double().cumsum(-1) <= u.double().unsqueeze(-1)
        return below.sum(-1).clamp(max=self.num_levels - 1)


class Bernoulli(Output):
    """Two levels by one logit."""

    num_params = 1

    def log_prob(self, params: Tensor, level: Tensor) -> Tensor:
        logit = params.squeeze(-1)
        return -softplus(torch.where(level > 0, -logit, logit))

    def log_probs(self, params: Tensor) -> Tensor:
        return torch.cat([-softplus(params), -softplus(-params)], -1)


class Categorical(Output):
    """A logit per level (van den Oord et al. 2016, arXiv:1601.06759, section 3.4)."""

    def __init__(self, num_levels: int) -> None:
        super().__init__(num_levels)
        self.num_params = num_levels

    def log_prob(self, params: Tensor, level: Tensor) -> Tensor:
        return log_softmax(params, -1).gather(-1, level.unsqueeze(-1)).squeeze(-1)

    def log_probs(self, params: Tensor) -> Tensor:
        return log_softmax(params, -1)


class LogisticMixture(Output):
    """A mixture of logistics, integrated over each level's cell; the end cells reach to infinity.

    Salimans et al. 2017, "PixelCNN++", arXiv:1701.05517, equation 2. Levels lie in [-1, 1].
    """

    def __init__(self, num_levels: int, num_components: int) -> None:
        super().__init__(num_levels)
        self.num_components = num_components
        self.num_params = 3 * num_components

    def log_prob(self, params: Tensor, level: Tensor) -> Tensor:
        log_weight, mean, log_scale = self._components(params)
        return (log_weight + self._log_cell(level.unsqueeze(-1), mean, log_scale)).logsumexp(-1)

    def log_probs(self, params: Tensor) -> Tensor:
        level = torch.arange(self.num_levels, device=params.device)
        log_weight, mean, log_scale = (part.unsqueeze(-2) for part in self._components(params))
        return (log_weight + self._log_cell(level.unsqueeze(-1), mean, log_scale)).logsumexp(-1)

    def _components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logit, mean, log_scale = params.chunk(3, -1)
        # Narrower than e^-7 is far inside one cell of 256 and only makes gradients large.
        return log_softmax(logit, -1), mean, log_scale.clamp(min=-7)

    def _log_cell(self, level: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
        """log of the logistic's mass in a level's cell.

        With a > b the ends in units of the scale, sigmoid(a) - sigmoid(b) = sigmoid(a)
        sigmoid(-b) (1 - exp(b - a)), which cancels nowhere.
        """
        half = 1 / (self.num_levels - 1)
        centre = level * (2 * half) - 1
        inverse = (-log_scale).exp()
        upper, lower = (centre + half - mean) * inverse, (centre - half - mean) * inverse
        width = 2 * half * inverse
        inside = -softplus(-upper) - softplus(lower) + _log1mexp(width)
        last = level == self.num_levels - 1
        ends = torch.where(last, -softplus(lower), inside)
        return torch.where(level == 0, -softplus(-upper), ends)


def _log1mexp(w: Tensor) -> Tensor:
    """log(1 - exp(-w)) of w > 0, by its series near 0: expm1 exports as exp(x) - 1, which cancels.

    Shapes: (...) -> (...).
    """
    near = w.log() - w / 2 + w.square() / 24 - w.square().square() / 2880
    far = (-(-w.clamp(min=0.1)).exp()).log1p()
    return torch.where(w < 0.1, near, far)


def output(name: OutputName, num_levels: int, num_components: int = 5) -> Output:
    """The distribution of this name. Raises ValueError if the levels do not fit it."""
    if name == "categorical":
        return Categorical(num_levels)
    if name == "logistic_mixture":
        return LogisticMixture(num_levels, num_components)
    if num_levels != 2:
        raise ValueError(f"bernoulli has 2 levels, not {num_levels}: accepted are the others")
    return Bernoulli(num_levels)
