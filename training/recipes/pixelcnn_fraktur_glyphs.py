"""Gated PixelCNN on Fraktur glyphs of 56 x 56 pixels, knowing where a pixel is."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist

_FASHION = pixelcnn_fashion_mnist.RECIPE

RECIPE = replace(
    _FASHION,
    config=replace(
        _FASHION.config,
        num_components=5,
        channels=16,
        num_layers=6,
        dilations=(1, 2),
        head_channels=32,
    ),
    dataset="fraktur-glyphs",
    height=56,
    width=56,
    background=255,
    objective_settings={"num_updates": 2500, "batch_size": 32, "rate": 2e-3},
    ood_sets={"omniglot": False, "mnist": True, "fashion-mnist": True},
)
