"""How well a flow's latent passes for the noise that it should be.

Anderson and Darling 1952, "Asymptotic theory of certain goodness of fit criteria based on
stochastic processes"; tests of latents after Jiang et al. 2022, "Revisiting flow generative models
for out-of-distribution detection".
"""

import torch
from torch import Tensor

from models.core.contract.columns import columns
from models.core.contract.noise import normal
from models.core.contract.one_shot import OneShot
from models.core.contract.rows import Rows
from models.core.flow.density import FlowDensity

_LEAST = 1e-30  # of a mean square: its logarithm stays finite


class LatentFit(OneShot):
    """Column latent_fit (B, K) of z = f(x): see `statistics`.

    Levels are dequantised with one noise for all events, so that an event has the same numbers
    every time: a whole image in the middle of its cells is no likely noise.
    """

    def __init__(self, model: FlowDensity) -> None:
        num = 2 + len(_sides_with_neighbours(model.event_shape))
        super().__init__(model, self._latent_fit, outputs=columns(latent_fit=(num,)))
        self.flow = model
        zero = torch.zeros(1, dtype=torch.int64)
        self.noise = normal(zero, zero, model.event_shape)

    def _latent_fit(self, rows: Rows) -> Rows:
        x = rows["x"]
        z = self.flow.base.to_normal(self.flow.encode(x, self.noise.to(x).expand_as(x)))
        return {"latent_fit": statistics(z.double().view(x.shape)).float()}


def statistics(z: Tensor) -> Tensor:
    """log A^2, log of the mean square, and the correlation of neighbours along each side.

    The sides are the last two of images, the only one of vectors; those of length 1 have no
    neighbours and are left out. z lies as the event does, which are neighbours in the image only
    where a flow moves no pixel. Shapes: (B, *event) -> (B, K).
    """
    flat = z.flatten(1)
    square = flat.square().mean(1).clamp(min=_LEAST)
    columns = [anderson_darling(flat).log(), square.log()]
    for side in _sides_with_neighbours(tuple(z.shape[1:])):
        length = z.shape[side]
        before, after = z.narrow(side, 0, length - 1), z.narrow(side, 1, length - 1)
        columns.append((before * after).flatten(1).mean(1) / square)
    return torch.stack(columns, 1)


def _sides_with_neighbours(event_shape: tuple[int, ...]) -> list[int]:
    """Which dimensions of z, rows being the first, have two places and more."""
    first = max(0, len(event_shape) - 2)
    return [1 + i for i in range(first, len(event_shape)) if event_shape[i] > 1]


def anderson_darling(z: Tensor) -> Tensor:
    """A^2 of the values of a row against N(0, 1), parameters known; about 1 for noise.

    -D - (1 / D) sum_i (2 i - 1) (log Phi(z_(i)) + log Phi(-z_(D + 1 - i))), z_(i) ascending.
    Shapes: (B, D) -> (B,).
    """
    dims = z.shape[1]
    ordered = z.sort(dim=1).values
    weight = 2 * torch.arange(1, dims + 1, dtype=z.dtype, device=z.device) - 1
    below, above = torch.special.log_ndtr(ordered), torch.special.log_ndtr(-ordered.flip(1))
    return -dims - (weight * (below + above)).mean(1)
