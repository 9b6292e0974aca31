"""Scores of an autoencoder: how far an event's path through its latent is from the usual one.

Huang et al. 2024, "Rethinking test-time likelihood: the likelihood path principle and its
application to OOD detection", arXiv:2401.04933.
"""

from models.core.ood.mahalanobis import by_distance
from models.core.ood.score import Score

LATENT_SCORES: dict[str, Score] = {
    "likelihood_path": by_distance(
        "likelihood_path",
        ("path_norms",),
        "Mahalanobis distance of the logarithms of three norms on the way from an event to its "
        "reconstruction (LPath, Huang et al. 2024, arXiv:2401.04933, who take several norms and "
        "judge them by copulas instead, COPOD).",
    ),
}
