"""Scores of a flow: how far its latent is from the noise that latents of usual events are.

Jiang et al. 2022, "Revisiting flow generative models for out-of-distribution detection".
"""

from models.core.ood.mahalanobis import by_distance
from models.core.ood.score import Score

FLOW_SCORES: dict[str, Score] = {
    "latent_gof": by_distance(
        "latent_fit",
        ("latent_fit",),
        "Goodness of fit of the latent to standard normal noise: Mahalanobis distance of log A^2 "
        "(Anderson and Darling 1952), log mean square and the correlations of neighbours from "
        "those of in-distribution events, since no flow reaches the noise itself.",
    ),
}
