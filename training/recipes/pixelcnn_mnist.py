"""Gated PixelCNN on MNIST, 8 bits, knowing where a pixel is."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist

_FASHION = pixelcnn_fashion_mnist.RECIPE

RECIPE = replace(
    _FASHION,
    config=replace(_FASHION.config, num_components=5, channels=24, num_layers=6, head_channels=48),
    dataset="mnist",
    objective_settings={"num_updates": 3000, "batch_size": 64, "rate": 2e-3},
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
