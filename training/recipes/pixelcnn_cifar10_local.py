"""What pixels say of their neighbours on CIFAR-10: the background of a likelihood ratio.

Sees two pixels around, all colours of them, and not where it is.
"""

from dataclasses import replace

from training.recipes import pixelcnn_cifar10

_WHOLE = pixelcnn_cifar10.RECIPE

RECIPE = replace(
    _WHOLE,
    config=replace(
        _WHOLE.config,
        coordinates=False,
        channels=16,
        num_layers=1,
        input_kernel_size=3,
        dilations=(1,),
        head_channels=32,
    ),
    objective_settings={"num_updates": 1500, "batch_size": 32, "rate": 3e-3},
)
