"""Autoregressive transforms: one masked network makes a dense map whose Jacobian is triangular.

Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow",
arXiv:1606.04934; Papamakarios et al. 2017, "Masked autoregressive flow", arXiv:1705.07057.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from models.core.nn.masked import MaskedMLP
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.mixture_cdf import LogisticMixture
from models.core.transforms.transform import Transform

_LOGISTIC_STD = math.pi / math.sqrt(3)


class Conditional(ABC):
    """A monotone map of one number, given the numbers that a network computed from others."""

    num_params: int

    @abstractmethod
    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """z and log dz/dx. Shapes: (...), (..., num_params) -> (...), (...)."""

    @abstractmethod
    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """x and log dx/dz. Shapes: (...), (..., num_params) -> (...), (...)."""


class Affine(Conditional):
    """z = (x - mu) exp(-alpha): x is normal given what comes before it (1705.07057, eq. 4).

    alpha is bounded softly, since its exponential is multiplied along the inversion.
    """

    num_params = 2

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mu, alpha = self._terms(params)
        return (x - mu) * (-alpha).exp(), -alpha

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mu, alpha = self._terms(params)
        return z * alpha.exp() + mu, alpha

    def _terms(self, params: Tensor) -> tuple[Tensor, Tensor]:
        mu, alpha = params.unbind(-1)
        return mu, self.bound * (alpha / self.bound).tanh()


class Mixture(Conditional):
    """x is a mixture of logistics given what comes before it; z has its quantile, of a logistic.

    Papamakarios et al. 2017 put the mixture into the base (MAF MoG); next to the data it can have
    a mode for black and one for white. Made with unit variance, a logistic is nearly normal.
    """

    def __init__(self, num_components: int, bound: float) -> None:
        self.num_params = 3 * num_components
        self.bound = bound
        # Components that start alike would stay alike.
        self.starts = torch.linspace(-1.5, 1.5, num_components)

    def forward(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mixture = self._mixture(params)
        return mixture.logit(x) / _LOGISTIC_STD, mixture.log_slope(x) - math.log(_LOGISTIC_STD)

    def inverse(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mixture = self._mixture(params)
        x = mixture.quantile(z * _LOGISTIC_STD)
        return x, math.log(_LOGISTIC_STD) - mixture.log_slope(x)

    def _mixture(self, params: Tensor) -> LogisticMixture:
        logit, mean, log_scale = params.chunk(3, -1)
        bounded = self.bound * (log_scale / self.bound).tanh()
        return LogisticMixture(log_softmax(logit, -1), mean + self.starts.to(mean), bounded)


class Autoregressive(Transform):
    """h = norm(x), then z_i from h_i given the h before it in the order.

    The norm takes the place of the batch norm between MAF's blocks, which would let one row see
    another. Shapes: (B, D) <-> (B, D).
    """

    def __init__(self, net: MaskedMLP, conditional: Conditional) -> None:
        super().__init__()
        self.norm = ActNorm((net.num_dims,))
        self.net = net
        self.conditional = conditional

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, log_abs_det = self.norm(x)
        z, slope = self.conditional.forward(h, self.net(h))
        return z, slope.sum(1) + log_abs_det

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h, total = torch.zeros_like(z), z.new_zeros(len(z))
        for dim in self.net.order().split(1):
            value, slope = self.solve_at(z, h, dim.expand(len(z)))
            h = h.index_copy(1, dim, value[:, None])
            total = total + slope
        x, log_abs_det = self.norm.inverse(h)
        return x, total + log_abs_det

    def initialise(self, x: Tensor) -> Tensor:
        self.norm.initialise(x)
        return super().initialise(x)

    def solve(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Every h_i from z_i, given a guess at the others, and log dh_i/dz_i summed.

        A dimension is right if all before it are, so D passes reach the inverse from any guess.
        Shapes: (B, D), (B, D) -> (B, D), (B,).
        """
        solved, slope = self.conditional.inverse(z, self.net(h))
        return solved, slope.sum(1)

    def solve_at(self, z: Tensor, h: Tensor, dim: Tensor) -> tuple[Tensor, Tensor]:
        """`solve` at one dimension of each row. Shapes: 2 x (B, D), int64 (B,) -> 2 x (B,)."""
        chosen = z.gather(1, dim[:, None]).squeeze(1)
        return self.conditional.inverse(chosen, self.net.at(h, dim))


class Inverse(Transform):
    """A transform with its two directions exchanged."""

    def __init__(self, inner: Transform) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner.inverse(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        x, log_abs_det = self.inner(z)
        return x, log_abs_det
