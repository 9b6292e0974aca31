"""The screen of Fraktur glyphs, 56 x 56 pixels."""

from models.core.screen_config import Component
from training.screen_recipe import ScreenRecipe

RECIPE = ScreenRecipe(
    parts={
        "position": "pixelcnn_fraktur-glyphs",
        "local": "pixelcnn_fraktur-glyphs-local",
        "denoiser": "ddpm_fraktur-glyphs",
        "classifier": "jem_fraktur-glyphs-classifier",
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
    screens=("jem_fraktur-glyphs",),
)
