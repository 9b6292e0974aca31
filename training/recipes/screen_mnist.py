"""The screen of MNIST.

Without the ratio of codes at two sizes: strokes on plain ground shrink more when they are blurred.
"""

from dataclasses import replace

from models.core.screen.config import Component
from training.recipes import screen_fashion_mnist

RECIPE = replace(
    screen_fashion_mnist.RECIPE,
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
    screens=(),
)
