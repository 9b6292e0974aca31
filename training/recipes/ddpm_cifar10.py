"""A small DDPM on CIFAR-10 in colour: the denoiser of a screen."""

from dataclasses import replace

from training.recipes import ddpm_mnist

RECIPE = replace(
    ddpm_mnist.RECIPE,
    config=replace(ddpm_mnist.RECIPE.config, channels=(40, 64)),
    dataset="cifar10",
    height=32,
    width=32,
    num_channels=3,
    objective_settings={**ddpm_mnist.RECIPE.objective_settings, "num_updates": 6000},
)
