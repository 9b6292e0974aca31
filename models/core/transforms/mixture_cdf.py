"""Elementwise monotone map by a mixture's distribution function: any marginal made logistic.

Gaussianisation by marginals: Chen and Gopinath 2000; Meng et al. 2020, "Gaussianization Flows",
arXiv:2003.01941; as a layer of flows Ho et al. 2019, "Flow++", arXiv:1902.00275, section 3.2.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softplus

from models.core.transforms.transform import Transform


class LogisticMixture(NamedTuple):
    """A mixture of K logistics for every entry; all parts (..., K), weights in logs that sum to 1.

    The logit of F, its distribution function, is found as log F - log (1 - F), each a sum of what
    does not cancel, so that neither tail is lost.
    """

    log_weight: Tensor
    mean: Tensor
    log_scale: Tensor

    def logit(self, x: Tensor) -> Tensor:
        """logit F(x). Shapes: (...) -> (...)."""
        log_cdf, log_survival = self._log_tails(x)
        return log_cdf - log_survival

    def log_slope(self, x: Tensor) -> Tensor:
        """log of f / (F (1 - F)), the slope of the logit of F. Shapes: (...) -> (...)."""
        a = self._standardised(x)
        log_parts = self.log_weight - softplus(-a) - softplus(a) - self.log_scale
        log_cdf, log_survival = self._log_tails(x)
        return log_parts.logsumexp(-1) - log_cdf - log_survival

    def quantile(self, z: Tensor) -> Tensor:
        """x with logit F(x) = z, by bisection between the quantiles of single components.

        They enclose the mixture's. Shapes: (...) -> (...).
        """
        quantiles = self.mean + self.log_scale.exp() * z.unsqueeze(-1)
        low, high = quantiles.amin(-1), quantiles.amax(-1)
        # Each halves the bracket: as many as the mantissa has bits.
        for _ in range(24 if z.dtype == torch.float32 else 53):
            middle = (low + high) / 2
            below = self.logit(middle) < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _log_tails(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log F and log (1 - F). Shapes: (...) -> (...), (...)."""
        a = self._standardised(x)
        below, above = self.log_weight - softplus(-a), self.log_weight - softplus(a)
        return below.logsumexp(-1), above.logsumexp(-1)

    def _standardised(self, x: Tensor) -> Tensor:
        """x in units of each component. Shapes: (...) -> (..., K)."""
        return (x.unsqueeze(-1) - self.mean) * (-self.log_scale).exp()


class MixtureCDF(Transform):
    """z = logit F(x), F the distribution function of a mixture of logistics, one an entry."""

    def __init__(self, shape: tuple[int, ...], num_components: int) -> None:
        """Raises ValueError if there is no component."""
        super().__init__()
        if num_components < 1:
            raise ValueError(f"num_components {num_components}: accepted are 1 and more")
        self.num_components = num_components
        start = torch.linspace(-2, 2, num_components) if num_components > 1 else torch.zeros(1)
        self.mean = nn.Parameter(start.expand(*shape, -1).clone())
        self.log_scale = nn.Parameter(torch.zeros(*shape, num_components))
        self.logit = nn.Parameter(torch.zeros(*shape, num_components))

    @property
    def mixture(self) -> LogisticMixture:
        """The weights as a mixture, an entry each."""
        return LogisticMixture(log_softmax(self.logit, -1), self.mean, self.log_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixture = self.mixture
        return mixture.logit(x), mixture.log_slope(x).flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mixture = self.mixture
        x = mixture.quantile(z)
        return x, -mixture.log_slope(x).flatten(1).sum(1)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> Tensor:
        """Means at the quantiles of the data, as wide as they lie apart. Shapes as in `forward`."""
        num = self.num_components
        order = x.sort(0).values
        at = ((torch.arange(num) + 0.5) / num * (len(x) - 1)).round().long()
        spread = x.double().std(0).clamp(min=1e-3).unsqueeze(-1) / num
        self.mean.copy_(order[at].movedim(0, -1))
        scale = spread.expand_as(self.mean)
        if num > 1:
            # Where the data crowd, as at the ground of a picture, components are narrow.
            gap = self.mean.diff(dim=-1)
            left = torch.cat([gap[..., :1], gap], -1)
            right = torch.cat([gap, gap[..., -1:]], -1)
            scale = (torch.maximum(left, right) / 2).double().clamp(min=spread / 16)
        self.log_scale.copy_(scale.log())
        self.logit.zero_()
        return self(x)[0]
