"""The screen of MNIST."""

from models.core.screen_config import Component
from training.screen_recipe import ScreenRecipe

RECIPE = ScreenRecipe(
    parts={
        "position": "pixelcnn_mnist",
        "local": "pixelcnn_mnist-local",
        "denoiser": "ddpm_mnist",
        "classifier": "jem_mnist-classifier",
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
