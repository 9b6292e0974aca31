"""PixelCNN on Fraktur glyphs of 56 x 56 pixels, with a small window that knows its place."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist_placed

_PLACED = pixelcnn_fashion_mnist_placed.RECIPE

RECIPE = replace(
    _PLACED,
    config=replace(_PLACED.config, channels=32, head_channels=64),
    dataset="fraktur-glyphs",
    height=56,
    width=56,
    background=255,
    objective_settings={**_PLACED.objective_settings, "batch_size": 16},
    ood_sets={"omniglot": False, "mnist": True, "fashion-mnist": True},
)
