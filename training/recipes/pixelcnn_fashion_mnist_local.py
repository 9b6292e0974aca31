"""What pixels say of their neighbours on Fashion-MNIST: the background of a likelihood ratio.

Sees two pixels around and not where it is, so that it knows texture, but no garments (Zhang et
al. 2021, "On the out-of-distribution generalization of probabilistic image modelling").
"""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist

_WHOLE = pixelcnn_fashion_mnist.RECIPE

RECIPE = replace(
    _WHOLE,
    config=replace(
        _WHOLE.config,
        num_components=5,
        coordinates=False,
        channels=16,
        num_layers=1,
        input_kernel_size=3,
        head_channels=32,
    ),
    objective_settings={"num_updates": 2000, "batch_size": 64, "rate": 3e-3},
)
