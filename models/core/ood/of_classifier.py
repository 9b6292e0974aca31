"""Scores of an energy model or a classifier: its energy, its gradient, its softmax, its features.

Wang et al. 2022, "ViM: out-of-distribution with virtual-logit matching", arXiv:2203.10807;
Grathwohl et al. 2020, arXiv:1912.03263, section 5.3.3.
"""

import torch
from torch import Tensor

from models.core.calibration.conformal import Reference
from models.core.contract.rows import Rows
from models.core.ood.mahalanobis import rows_times
from models.core.ood.score import Score

_MOST_AXES = 32
"""Axes of the subspace that in-distribution features should lie in; at most half of all axes."""
_LEAST = 1e-30  # of a gradient's norm: its logarithm stays finite


def fit_subspace(features: Tensor) -> Tensor:
    """Mean (D) and principal axes (D, K) of in-distribution features, one behind the other.

    K is 32, or half of D or of the rows if that is less. Shapes: (N, D) -> float64 (D + D * K,).
    Raises ValueError for fewer than two rows or dimensions.
    """
    num, dims = features.shape
    if min(num, dims) < 2:
        raise ValueError(f"{num} rows of {dims} features: accepted are 2 and more of either")
    mean = features.double().mean(0)
    axes = torch.linalg.svd(features.double() - mean, full_matrices=False).Vh
    return torch.cat([mean, axes[: min(_MOST_AXES, dims // 2, num // 2)].T.flatten()])


def residual(features: Tensor, reference: Tensor) -> Tensor:
    """Norm of what is outside the subspace. Shapes: (B, D), (D + D * K,) -> (B,) float32."""
    dims = features.shape[1]
    mean, axes = reference.double().split([dims, len(reference) - dims])
    away = features.double() - mean
    basis = axes.view(dims, -1)
    inside = rows_times(rows_times(away, basis), basis.T)
    return (away - inside).norm(dim=1).float()


def error_probability(logits: Tensor) -> Tensor:
    """1 - max_y p(y given x), as the sum of the others: exact where p is all but 1.

    Shapes: (B, K) -> (B,) float32.
    """
    others = logits.double().sort(dim=1, descending=True).values[:, 1:]
    return (others.logsumexp(1) - logits.double().logsumexp(1)).exp().float()


def entropy(logits: Tensor) -> Tensor:
    """Entropy of p(y given x). Shapes: (B, K) -> (B,) float32, nats."""
    log_prob = logits.double().log_softmax(1)
    return -(log_prob.exp() * log_prob).sum(1).float()


def _residual(rows: Rows, reference: Reference) -> Tensor:
    assert isinstance(reference, Tensor), "this reference is a fit, not a number"
    return residual(rows["features"], reference)


def _log_norm(rows: Rows) -> Tensor:
    return rows["grad_norm"].clamp(min=_LEAST).log()


def _from_usual_norm(rows: Rows, reference: Reference) -> Tensor:
    return (_log_norm(rows) - reference).abs()


ENERGY_SCORES: dict[str, Score] = {
    "energy": Score(
        "energy",
        ("energy",),
        "nats, up to the model's constant",
        "Minus the unnormalised log density (Liu et al. 2020, arXiv:2010.03759).",
        lambda rows, _: rows["energy"],
    ),
    "energy_typicality": Score(
        "energy",
        ("energy",),
        "nats",
        "Distance of the energy from its median on validation data, so that images that are too "
        "likely count as strange as well (after Nalisnick et al. 2019, arXiv:1906.02994).",
        lambda rows, reference: (rows["energy"] - reference).abs(),
    ),
    "grad_norm": Score(
        "gradient_norm",
        ("grad_norm",),
        "nats per unit of grey",
        "Norm of the energy's gradient in the image, small where mass is: approximate mass "
        "(Grathwohl et al. 2020, arXiv:1912.03263, section 5.3.3), without their noise. Flat "
        "images far from all data can have small ones too.",
        lambda rows, _: rows["grad_norm"],
    ),
    "grad_norm_typicality": Score(
        "gradient_norm",
        ("grad_norm",),
        "nats",
        "Distance of that norm's logarithm from its median on validation data, so that gradients "
        "that are too small count as strange as well.",
        _from_usual_norm,
        lambda rows: float(_log_norm(rows).median()),
    ),
    "max_softmax": Score(
        "classify",
        ("logits",),
        "probability",
        "What the classifier leaves to all classes but the likeliest, 1 - max p(y given x): a "
        "baseline (Hendrycks and Gimpel 2017, arXiv:1610.02136).",
        lambda rows, _: error_probability(rows["logits"]),
    ),
    "entropy": Score(
        "classify",
        ("logits",),
        "nats",
        "Entropy of p(y given x): a baseline.",
        lambda rows, _: entropy(rows["logits"]),
    ),
    "feature_residual": Score(
        "features",
        ("features",),
        "feature units",
        "Norm of what the last layer sees outside the 32 principal axes of in-distribution "
        "features, about their mean (the residual of ViM, Wang et al. 2022, arXiv:2203.10807, "
        "which is about another origin).",
        _residual,
        lambda rows: fit_subspace(rows["features"]),
    ),
}
