"""Variational dequantisation: where in its cell an event lies is drawn from a small flow.

Ho et al. 2019, "Flow++", arXiv:1902.00275, section 3.1: u = sigmoid(f(eps; x)) with f a flow
conditioned on the event, so that log q(u given x) is known and the bound can be tightened.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from models.core.distributions.normal import standard_normal_log_prob
from models.core.nn.resnet import ResNet
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.dequantisation import cell_edge, into_cell
from models.core.transforms.halves import Checkerboard, halves
from models.core.transforms.multiscale import DIAGONAL, squeeze


class VariationalDequantisation(nn.Module):
    """q(u given x) by couplings of which every network sees features of x.

    Starts near the uniform distribution; eps = 0 is a point inside the cell, of high density.
    """

    def __init__(
        self,
        num_levels: int,
        event_shape: tuple[int, ...],
        *,
        channels: int,
        num_blocks: int = 1,
        num_couplings: int = 4,
    ) -> None:
        """Raises ValueError for fewer than one coupling."""
        super().__init__()
        if num_couplings < 1:
            raise ValueError(f"num_couplings {num_couplings}: accepted are 1 and more")
        self.num_levels = num_levels
        network = partial(
            ResNet, channels=channels, num_blocks=num_blocks, is_image=len(event_shape) == 3
        )
        parts = [halves(event_shape, swap=i % 2 == 1) for i in range(num_couplings)]
        self.at_half_size = isinstance(parts[0], Checkerboard)
        num_seen = event_shape[0] * (4 if self.at_half_size else 1)
        self.features = network(num_seen, channels, start=1.0)
        self.couplings = nn.ModuleList(
            AffineCoupling(part, lambda num_in, num_out: network(num_in + channels, num_out))
            for part in parts
        )
        # sigmoid(1.702 eps) is nearly the normal distribution function, which is uniform.
        self.log_width = nn.Parameter(torch.full(event_shape, math.log(1.702)))

    def forward(self, levels: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Shapes: levels float (B, *event) whole numbers, eps (B, *event) standard normal
        -> y (B, *event) inside its level's cell of (0, 1), log q(y given levels) (B,) in nats.
        """
        seen = levels * (2 / (self.num_levels - 1)) - 1
        context = self.features(squeeze(seen, DIAGONAL) if self.at_half_size else seen)
        v = eps * self.log_width.exp()
        log_abs_det = self.log_width.sum()
        for coupling in self.couplings:
            v, log_scale = coupling(v, context.to(v.dtype))
            log_abs_det = log_abs_det + log_scale
        # Rescaled, not clamped, so that no mass is moved and the bound stays one.
        edge = cell_edge(v.dtype)
        u = edge + (1 - 2 * edge) * v.sigmoid()
        slope = math.log((1 - 2 * edge) / self.num_levels) - softplus(v) - softplus(-v)
        log_q = standard_normal_log_prob(eps) - log_abs_det - slope.flatten(1).sum(1)
        return into_cell(levels, u, self.num_levels), log_q
