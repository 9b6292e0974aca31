"""The screen of Fashion-MNIST, the default of /ood_score."""

from models.core.screen.config import Component
from training.pipeline.screen_recipe import ScreenRecipe

RECIPE = ScreenRecipe(
    parts={
        "position": "pixelcnn_fashion-mnist-placed",
        "local": "pixelcnn_fashion-mnist-local",
        "denoiser": "ddpm_fashion-mnist-small",
        "classifier": "jem_fashion-mnist-classifier",
    },
    components=(
        Component(score="ic", part="position"),
        Component(score="llr_local", part="position", background="local"),
        Component(score="scale_ratio", part="position"),
        Component(score="denoising", part="denoiser"),
        Component(score="energy", part="classifier"),
        Component(score="feature_residual", part="classifier"),
    ),
    classifier="classifier",
    screens=("jem_fashion-mnist",),
)
