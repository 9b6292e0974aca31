"""Informative starts of chains, fitted to the training images, and small shifts of images.

Yang and Ji 2021, arXiv:2109.09032: chains begin at a Gaussian per class. Ours has low rank plus
independent pixels, since a full covariance of every class would outweigh the network.
"""

import numpy as np
import torch
from torch import Tensor

from models.core.energy.model import EnergyModel
from training.data.batches import Batches
from training.data.splits import as_events

_MOST = 1000  # images per class: enough for a handful of directions
_REST = 0.2  # share of the remaining deviation: independent pixels in full look like grain


def fit_starts(model: EnergyModel, batches: Batches) -> None:
    """Set mean, leading directions and remaining deviation of each class's start."""
    for k in range(model.num_outputs):
        chosen = batches.y == k if model.num_classes else torch.ones_like(batches.y).bool()
        x = as_events(batches.x[chosen.numpy()][:_MOST]).flatten(1)
        if len(x) == 0:  # a small class may lie in other splits: its start stays as it was
            continue
        mean = x.mean(0)
        rank = min(model.config.start_rank, len(x) - 1)
        _, values, directions = torch.linalg.svd(x - mean, full_matrices=False)
        freedom = max(len(x) - 1, 1)
        factor = directions[:rank] * (values[:rank, None] / freedom**0.5)
        rest = (x - mean).square().sum(0) / freedom - factor.square().sum(0)
        model.start_mean[k] = mean
        model.start_factor[k, :rank] = factor
        model.start_std[k] = _REST * rest.clamp(min=0).sqrt()


def shifted(x: Tensor, max_shift: int, rng: np.random.Generator) -> Tensor:
    """Each image moved by up to `max_shift` pixels a side, its edge repeated. Keeps the shape."""
    if max_shift == 0:
        return x
    num, _, height, width = x.shape
    down, right = torch.from_numpy(rng.integers(-max_shift, max_shift + 1, size=(2, num, 1)))
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    image = torch.arange(num)[:, None, None]
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
