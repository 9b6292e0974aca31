"""Whether several images together are unlike the calibration set, where each alone may pass.

The test is a rank again: of the group's statistic among those of disjoint groups of the same size
from the calibration set, which are exchangeable with a group of images like them. So its level
holds exactly whatever the statistic is; a good one has power.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration
from models.core.contract.noise import event_seeds, row_seeds

CLIP = 6.0
"""Standard deviations at which a z-value is cut before the mean, so that one image is not all."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class GroupTest:
    """How unlike the calibration set M images are together."""

    statistic: float
    """Higher = stranger; infinite if a score is no finite number."""
    p_value: float
    num_groups: int
    """Groups of the calibration set that it was compared with."""


def z_covariance(z: Tensor) -> Tensor:
    """What `group_test` needs of a screen's z-values on other images than its calibration has.

    Second moments about 0, where z-values have their centre, after cutting. Shapes: (A, J) ->
    (J * J,) float64.
    """
    cut = _cut(z)
    return (cut.T @ cut / len(cut)).flatten()


def group_test(calibration: Calibration, scores: Tensor, z: Tensor | None = None) -> GroupTest:
    """The p-value of M images as a group; for M images like the calibration set, P(p <= a) <= a.

    With z-values (M, J) and a reference of `z_covariance`, the statistic is the Mahalanobis
    distance of their mean from 0. Of scores (M,) alone it is the distance of their mean from the
    mean of all N + M scores, calibration and group: the group typicality of Nalisnick et al. 2019
    (arXiv:1906.02994), about a centre to which all groups contribute alike, so that the rank
    stays exact. The promise is marginal, over the draw of the calibration set too.
    """
    num = len(scores)
    if calibration.z is not None and z is not None:
        null, inverse = _null_of_z(calibration, num)
        statistic = _mahalanobis(_cut(z).mean(0, keepdim=True), inverse, num).item()
        scale = statistic
    else:
        means, total = _null_of_scores(calibration, num)
        mean = scores.float().double().mean().item()
        centre = (total + num * mean) / (calibration.num + num)
        statistic, scale = abs(mean - centre), abs(mean) + abs(centre)
        null = (means - centre).abs()
    if not math.isfinite(statistic):
        return GroupTest(math.inf, 1 / (1 + len(null)), len(null))
    # Equal groups in another order differ in their last bits; a tie counts as a tie.
    num_stranger = int((null >= statistic - _ROUNDING * scale).sum())
    return GroupTest(statistic, (1 + num_stranger) / (1 + len(null)), len(null))


def num_groups(calibration: Calibration, num: int) -> int:
    """Disjoint groups of so many images that the calibration set has."""
    return calibration.num // num


def _groups(calibration: Calibration, num: int) -> Tensor:
    """Which calibration images are together: (G, M) indices.

    Scores are kept in ascending order, so that one shuffle for all sets would put the same ranks
    together in each, and no draw of the set would average that out. The seed is therefore a hash
    of the scores: another set is shuffled anew, the same one always alike.
    """
    scores = calibration.scores
    seed = int(event_seeds(torch.zeros(1, dtype=torch.int64), scores[None])[0])
    shuffled = row_seeds(seed, len(scores)).argsort(stable=True)
    count = num_groups(calibration, num)
    return shuffled[: count * num].view(count, num)


@lru_cache(256)
def _null_of_scores(calibration: Calibration, num: int) -> tuple[Tensor, float]:
    """Means of the groups (G,), and the sum of all scores."""
    scores = calibration.scores.double()
    return scores[_groups(calibration, num)].mean(1), float(scores.sum())


@lru_cache(256)
def _null_of_z(calibration: Calibration, num: int) -> tuple[Tensor, Tensor]:
    """Statistics of the groups (G,), and the inverse of the covariance (J, J).

    Raises ValueError if the calibration's reference is no covariance of its z-values.
    """
    z, reference = calibration.z, calibration.reference
    assert z is not None
    if not isinstance(reference, Tensor) or reference.numel() != z.shape[1] ** 2:
        raise ValueError(f"the calibration has z-values, and no {z.shape[1]}^2 covariance of them")
    inverse = torch.linalg.pinv(reference.double().view(z.shape[1], -1), hermitian=True)
    means = _cut(z)[_groups(calibration, num)].mean(1)
    return _mahalanobis(means, inverse, num), inverse


def _mahalanobis(means: Tensor, inverse: Tensor, num: int) -> Tensor:
    """Distances from 0 of means of `num` rows, in their standard deviations. (G, J) -> (G,)."""
    return (num * ((means @ inverse) * means).sum(1)).clamp(min=0).sqrt()


def _cut(z: Tensor) -> Tensor:
    """z-values cut at CLIP on either side; NaN counts as strange. Shapes: (M, J) -> (M, J)."""
    return z.double().nan_to_num(nan=CLIP, posinf=CLIP, neginf=-CLIP).clamp(-CLIP, CLIP)
