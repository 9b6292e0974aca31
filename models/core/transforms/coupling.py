"""Affine coupling: one half of an event is scaled and shifted by what a network sees in the other.

Dinh et al. 2017, "Density estimation using Real NVP", arXiv:1605.08803, section 3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models.core.transforms.halves import Halves
from models.core.transforms.transform import Transform


class AffineCoupling(Transform):
    """changed <- changed * exp(log_scale) + shift, both by a network of `kept` (equations 7, 8).

    log_scale = limit * tanh(raw / limit) with a learned limit a channel, so that no input can
    blow the scale up. Identity at first.
    """

    def __init__(self, halves: Halves, network: Callable[[int, int], nn.Module]) -> None:
        """`network(num_in, num_out)` maps (B, num_in, ...) to (B, num_out, ...)."""
        super().__init__()
        self.halves = halves
        num_changed, *rest = halves.changed_shape
        self.network = network(halves.kept_shape[0], 2 * num_changed)
        self.log_limit = nn.Parameter(torch.zeros(num_changed, *(1 for _ in rest)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """`context` (B, C, ...) is more for the network to see, as channels."""
        kept, changed = self.halves.split(x)
        log_scale, shift = self._params(kept, context)
        changed = changed * log_scale.exp() + shift
        return self.halves.join(kept, changed), log_scale.flatten(1).sum(1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        kept, changed = self.halves.split(z)
        log_scale, shift = self._params(kept, context)
        changed = (changed - shift) * (-log_scale).exp()
        return self.halves.join(kept, changed), -log_scale.flatten(1).sum(1)

    def _params(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        seen = kept if context is None else torch.cat([kept, context], 1)
        # The network may run in half precision, the state and the determinant may not.
        raw, shift = self.network(seen).to(kept.dtype).chunk(2, 1)
        limit = self.log_limit.exp()
        return self.halves.free(limit * (raw / limit).tanh()), self.halves.free(shift)
