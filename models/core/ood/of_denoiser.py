"""Scores of a denoiser: how far the noise that it finds is from what it finds in usual images.

Mahmood et al. 2021, "Multiscale score matching for out-of-distribution detection",
arXiv:2010.13132.
"""

from models.core.ood.mahalanobis import by_distance
from models.core.ood.score import Score

DIFFUSION_SCORES: dict[str, Score] = {
    "score_norms": by_distance(
        "denoise",
        ("noise_norms",),
        "Mahalanobis distance of the logarithms of the score's norm at eight levels of noise, none "
        "of which is put in (MSMA, Mahmood et al. 2021, arXiv:2010.13132, with a Gaussian for "
        "their mixture).",
    ),
    "denoising": by_distance(
        "denoise",
        ("noise_norms", "noise_errors"),
        "Mahalanobis distance of the norms and of the errors together, twelve logarithms: also of "
        "an image whose norms do not go with its errors (MSMA, Mahmood et al. 2021, "
        "arXiv:2010.13132, with more statistics).",
    ),
    "recon": by_distance(
        "denoise",
        ("noise_errors",),
        "Mahalanobis distance of the logarithms of the error in finding a fixed noise again, at "
        "four levels: one step of reconstruction (after Graham et al. 2023, arXiv:2211.07740).",
    ),
}
