"""Elementwise monotone map by a mixture's distribution function: any marginal made logistic.

Gaussianisation by marginals: Chen and Gopinath 2000; Meng et al. 2020, "Gaussianization Flows",
arXiv:2003.01941; as a layer of flows Ho et al. 2019, "Flow++", arXiv:1902.00275, section 3.2.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softplus

from models.core.transforms import Transform


class MixtureCDF(Transform):
    """z = logit F(x), F the distribution function of a mixture of logistics, one an entry.

    The logit of F is found as log F - log (1 - F), each a sum of what does not cancel, so that
    neither tail is lost.
    """

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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = self._logit(x)
        return z, log_slope.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """By bisection between the quantiles of single components, which enclose the mixture's."""
        quantiles = self.mean + self.log_scale.exp() * z.unsqueeze(-1)
        low, high = quantiles.amin(-1), quantiles.amax(-1)
        # Each halves the bracket: as many as the mantissa has bits.
        for _ in range(28 if z.dtype == torch.float32 else 56):
            middle = (low + high) / 2
            below = self._logit(middle)[0] < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        x = (low + high) / 2
        return x, -self._logit(x)[1].flatten(1).sum(1)

    def _logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """logit F and the log of its slope, f / (F (1 - F)). Shapes: as those of x."""
        log_weight = log_softmax(self.logit, -1)
        a = (x.unsqueeze(-1) - self.mean) * (-self.log_scale).exp()
        below, above = -softplus(-a), -softplus(a)
        log_cdf = (log_weight + below).logsumexp(-1)
        log_survival = (log_weight + above).logsumexp(-1)
        log_density = (log_weight + below + above - self.log_scale).logsumexp(-1)
        return log_cdf - log_survival, log_density - log_cdf - log_survival

    @torch.no_grad()
    def initialise(self, x: Tensor) -> Tensor:
        """Means at the quantiles of the data, as wide as they lie apart. Shapes as in `forward`."""
        num = self.num_components
        order = x.sort(0).values
        at = ((torch.arange(num) + 0.5) / num * (len(x) - 1)).round().long()
        spread = x.double().std(0).clamp(min=1e-3)
        self.mean.copy_(order[at].movedim(0, -1))
        self.log_scale.copy_((spread / num).log().unsqueeze(-1).expand_as(self.mean))
        self.logit.zero_()
        return self(x)[0]
