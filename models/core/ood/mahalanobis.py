"""Mahalanobis' distance: how far numbers lie from their usual place, in their usual spread.

Mahalanobis 1936; as a score of what is strange Lee et al. 2018, arXiv:1807.03888.
"""

import torch
from torch import Tensor

from models.core.calibration.conformal import Reference
from models.core.contract.rows import Rows
from models.core.ood.score import Score

UNIT = "standard deviations (Mahalanobis)"
_NARROWEST = 1e-10
"""Least variance along a principal axis, as a share of the largest: narrower is rounding."""


def fit(columns: Tensor) -> Tensor:
    """Mean (D) and whitening (D, D) of in-distribution rows, one behind the other.

    Every column is put in units of its own deviation first, so that the axes do not depend on
    these. Shapes: (N, D) -> float64 (D + D * D,). Raises ValueError if a number is not finite, a
    column is constant, or N <= D.
    """
    num, dims = columns.shape
    if num <= dims:
        raise ValueError(f"{num} rows fit no spread of {dims} numbers: accepted are {dims + 1}")
    columns = columns.double()
    if not bool(columns.isfinite().all()):
        raise ValueError("numbers that are not finite have no spread")
    mean, std = columns.mean(0), columns.std(0)
    if not bool((std > 0).all()):
        raise ValueError("a number that never changes has no spread")
    variance, axes = torch.linalg.eigh(((columns - mean) / std).T.cov().view(dims, dims))
    scale = variance.clamp(min=_NARROWEST * float(variance.max())).rsqrt()
    whitening = (scale[:, None] * axes.T) / std
    return torch.cat([mean, whitening.flatten()])


def distance(columns: Tensor, reference: Tensor) -> Tensor:
    """Standard deviations from the mean; for Gaussians the square is chi-squared with D degrees.

    Shapes: (B, D), (D + D * D,) -> (B,) float32.
    """
    dims = columns.shape[1]
    mean, whitening = reference.double().split([dims, dims * dims])
    away = rows_times(columns.double() - mean, whitening.view(dims, dims).T)
    return away.norm(dim=1).float()


def rows_times(rows: Tensor, matrix: Tensor) -> Tensor:
    """rows @ matrix, but the same bits for a row in any company: matrix products pick other
    algorithms for other numbers of rows. Shapes: (B, D), (D, K) -> (B, K)."""
    return (rows[:, :, None] * matrix).sum(1)


def by_distance(operation: str, columns: tuple[str, ...], description: str) -> Score:
    """A score: the distance of columns (B, D) from where in-distribution events have them."""

    def joined(rows: Rows) -> Tensor:
        return torch.cat([rows[column] for column in columns], 1)

    def compute(rows: Rows, reference: Reference) -> Tensor:
        assert isinstance(reference, Tensor), "this reference is a fit, not a number"
        return distance(joined(rows), reference)

    return Score(operation, columns, UNIT, description, compute, lambda rows: fit(joined(rows)))
