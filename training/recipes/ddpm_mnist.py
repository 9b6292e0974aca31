"""A small DDPM on MNIST: the denoiser of a screen."""

from dataclasses import replace

from training.recipes import ddpm_fashion_mnist

_FASHION = ddpm_fashion_mnist.RECIPE

RECIPE = replace(
    _FASHION,
    config=replace(_FASHION.config, conditional=False, channels=(32, 48), embedding=64),
    dataset="mnist",
    objective_settings={**_FASHION.objective_settings, "num_updates": 5000},
    report=replace(_FASHION.report, compared_params={}),
)
