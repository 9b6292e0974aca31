"""Base distributions of flows: independent numbers of one distribution, standard normal or another.

Each goes from and to standard normal numbers, entry by entry, so that noise, samples and tests of
a latent need no rule of their own for any of them.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from models.core.distributions.normal import standard_normal_log_prob


class Base(ABC):
    """The distribution of every entry of a latent, all independent."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """The log density, in nats. Shapes: (B, ...) -> (B,)."""

    @abstractmethod
    def from_normal(self, eps: Tensor) -> Tensor:
        """Draws from standard normal numbers, rising with them. Shapes: (B, ...) -> (B, ...)."""

    @abstractmethod
    def to_normal(self, z: Tensor) -> Tensor:
        """The inverse of `from_normal`. Shapes: (B, ...) -> (B, ...)."""


class Normal(Base):
    """N(0, 1)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_normal_log_prob(z)

    def from_normal(self, eps: Tensor) -> Tensor:
        return eps

    def to_normal(self, z: Tensor) -> Tensor:
        return z


class Logistic(Base):
    """The standard logistic distribution, P(z <= x) = 1 / (1 + exp(-x)), of variance pi^2 / 3."""

    def log_prob(self, z: Tensor) -> Tensor:
        far = z.abs()  # symmetric, and written so that exp cannot overflow
        return -(far + 2 * (-far).exp().log1p()).flatten(1).sum(1)

    def from_normal(self, eps: Tensor) -> Tensor:
        wide = eps.double()
        logit = torch.special.log_ndtr(wide) - torch.special.log_ndtr(-wide)
        return logit.to(eps.dtype)

    def to_normal(self, z: Tensor) -> Tensor:
        # By the nearer tail, since 1 - 1e-17 is 1.
        tail = torch.special.ndtri(torch.sigmoid(-z.double().abs()))
        return torch.where(z < 0, tail, -tail).to(z.dtype)
