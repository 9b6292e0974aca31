"""The screen of CIFAR-10, in colour.

On the development panel a ratio against a local model and the residual of features only diluted
the sum: what photographs show has no place of its own. The norms that a denoiser finds count twice,
alone and with its errors; one trained three times as long saw blur worse (AUROC 0.89 for 0.96).
"""

from models.core.screen.config import Component
from training.pipeline.screen_recipe import ScreenRecipe

RECIPE = ScreenRecipe(
    parts={
        "position": "pixelcnn_cifar10",
        "denoiser": "ddpm_cifar10",
        "classifier": "jem_cifar10-classifier",
    },
    components=(
        Component(score="ic", part="position"),
        Component(score="scale_ratio", part="position"),
        Component(score="score_norms", part="denoiser"),
        Component(score="denoising", part="denoiser"),
        Component(score="energy", part="classifier"),
    ),
    classifier="classifier",
)
