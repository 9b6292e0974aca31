"""PixelCNN on Fashion-MNIST with a small window that knows its place: for a likelihood ratio.

A large window learns in context, so that it soon believes a picture that is upside down or
inverted; a small one must know by heart what belongs where.
"""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist

_LARGE = pixelcnn_fashion_mnist.RECIPE

RECIPE = replace(
    _LARGE,
    config=replace(
        _LARGE.config,
        num_components=5,
        place_tables=True,
        channels=48,
        num_layers=1,
        input_kernel_size=13,
        head_channels=96,
    ),
    objective_settings={"num_updates": 2500, "batch_size": 64, "rate": 3e-3},
)
