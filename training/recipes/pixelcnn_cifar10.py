"""Gated PixelCNN on CIFAR-10 in colour, 8 bits, knowing where a pixel is; small, for screening."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist

_FASHION = pixelcnn_fashion_mnist.RECIPE

RECIPE = replace(
    _FASHION,
    config=replace(
        _FASHION.config,
        num_components=5,
        num_layers=3,
        input_kernel_size=9,
        dilations=(1, 2),
    ),
    dataset="cifar10",
    height=32,
    width=32,
    num_channels=3,
    objective_settings={"num_updates": 2000, "batch_size": 32, "rate": 3e-3},
    ood_sets={"mnist": False, "fashion-mnist": False},
)
