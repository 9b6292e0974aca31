"""What pixels say of their neighbours in Fraktur: the background of a likelihood ratio."""

from dataclasses import replace

from training.recipes import pixelcnn_fashion_mnist_local, pixelcnn_fraktur_glyphs

_LOCAL = pixelcnn_fashion_mnist_local.RECIPE

RECIPE = replace(
    pixelcnn_fraktur_glyphs.RECIPE,
    config=_LOCAL.config,
    objective_settings={**_LOCAL.objective_settings, "num_updates": 1500, "batch_size": 32},
)
