"""What a number in nats is, and how it relates to 8-bit pixels and bits per dimension."""

import math
from enum import StrEnum

import torch
from torch import Tensor

from models.core.contract.noise import uniform

NUM_LEVELS = 256
"""Grey levels of an 8-bit pixel."""


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


def dequantise(pixels: Tensor, seed: Tensor, step: Tensor) -> Tensor:
    """Uniform dequantisation, (pixel + u) / 256 with u in [0, 1): Theis et al. 2016,
    arXiv:1511.01844, section 3.1.

    Shapes: pixels uint8 (B, ...), seed (B,), step (B,) -> float32 (B, ...) in [0, 1).
    """
    u = uniform(seed, step, tuple(pixels.shape[1:])).to(pixels.device)
    level = pixels.float()
    # level + u rounds up to level + 1 in float32 where u is close to 1: the next cell.
    end = torch.nextafter((level + 1) / NUM_LEVELS, torch.zeros_like(level))
    return torch.minimum((level + u) / NUM_LEVELS, end)


def quantise(x: Tensor) -> Tensor:
    """The nearest 8-bit pixels of x in [0, 1]. Shapes: (B, ...) -> uint8 (B, ...)."""
    return (x.clamp(0, 1) * (NUM_LEVELS - 1)).round().byte()


def to_unit(pixels: Tensor) -> Tensor:
    """8-bit pixels as events in [0, 1], pixel / 255. Shapes: uint8 (B, ...) -> float32 (B, ...)."""
    return pixels.float() / (NUM_LEVELS - 1)
