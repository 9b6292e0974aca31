"""Activation normalisation: a scale and a shift a channel, set by the first batch.

Kingma and Dhariwal 2018, "Glow", arXiv:1807.03039, section 3.1.
"""

import torch
from torch import Tensor, nn

from models.core.transforms.transform import Transform


class ActNorm(Transform):
    """z = exp(log_scale) * (x - mean), per channel of an image or per entry of a vector.

    Trained like weights; `initialise` makes the batch it sees zero mean and unit variance.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        num_channels, *sides = shape
        self.num_positions = torch.Size(sides).numel()
        param_shape = (num_channels, *(1 for _ in sides))
        self.mean = nn.Parameter(torch.zeros(param_shape))
        self.log_scale = nn.Parameter(torch.zeros(param_shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) * self.log_scale.exp(), self._log_abs_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp() + self.mean, -self._log_abs_det(z)

    def _log_abs_det(self, x: Tensor) -> Tensor:
        return (self.num_positions * self.log_scale.sum()).expand(x.shape[0])

    @torch.no_grad()
    def initialise(self, x: Tensor) -> Tensor:
        """A channel that does not vary keeps scale 1. Shapes: (N, *shape) -> (N, *shape)."""
        per_channel = x.transpose(0, 1).flatten(1).double()
        std = per_channel.std(1)
        std = torch.where(std > 1e-6, std, torch.ones_like(std))
        self.mean.copy_(per_channel.mean(1).view_as(self.mean))
        self.log_scale.copy_(-std.log().view_as(self.mean))
        return self(x)[0]
