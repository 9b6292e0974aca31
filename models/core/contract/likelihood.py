"""What a number in nats is, and how it relates to 8-bit pixels and bits per dimension."""

import math
from enum import StrEnum

import torch
from torch import Tensor

from models.core.contract.grid import NUM_LEVELS


class Likelihood(StrEnum):
    """What a number in nats is; every answer that holds one says so."""

    EXACT = "exact"
    BOUND = "bound"  # at most the log likelihood
    ESTIMATE = "estimate"  # unbiased or consistent, but noisy
    UNNORMALISED = "unnormalised"  # comparable within one model only


def bits_per_dim(log_prob: Tensor, num_dims: int) -> Tensor:
    """Nats per image of discrete pixels to bits per dimension. Shapes: (B,) -> (B,)."""
    return -log_prob / (num_dims * math.log(2))


def log_cell_volume(num_dims: int) -> float:
    """Log volume of the cell that one 8-bit image fills in [0, 1]^D, in nats: -D ln 256.

    log P(pixels) of a continuous density is about log p(x) plus this (one-point rule);
    x = pixel / 255 lies inside its own cell [pixel / 256, (pixel + 1) / 256].
    """
    return -num_dims * math.log(NUM_LEVELS)


def log_mean_exp(log_weight: Tensor, dim: int) -> Tensor:
    """log of the mean of exp along a dimension. Shapes: (..., K, ...) -> (..., ...)."""
    return (
        log_weight.logsumexp(dim)
        - torch.full_like(log_weight.select(dim, 0), log_weight.shape[dim]).log()
    )
