"""The screen of Fraktur glyphs, 56 x 56 pixels."""

from dataclasses import replace

from training.recipes import screen_mnist

RECIPE = replace(
    screen_mnist.RECIPE,
    parts={
        "position": "pixelcnn_fraktur-glyphs",
        "local": "pixelcnn_fraktur-glyphs-local",
        "denoiser": "ddpm_fraktur-glyphs",
        "classifier": "jem_fraktur-glyphs-classifier",
    },
    screens=("jem_fraktur-glyphs",),
)
