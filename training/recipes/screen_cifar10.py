"""The screen of CIFAR-10, in colour."""

from models.core.screen_config import Component
from training.screen_recipe import ScreenRecipe

RECIPE = ScreenRecipe(
    parts={
        "position": "pixelcnn_cifar10",
        "local": "pixelcnn_cifar10-local",
        "denoiser": "ddpm_cifar10",
        "classifier": "jem_cifar10-classifier",
    },
    components=(
        Component(score="ic", part="position"),
        Component(score="llr_local", part="position", background="local"),
        Component(score="score_norms", part="denoiser"),
        Component(score="recon", part="denoiser"),
        Component(score="energy", part="classifier"),
        Component(score="feature_residual", part="classifier"),
    ),
    classifier="classifier",
)
