"""A small DDPM on Fraktur glyphs, trained at little noise: the denoiser of a screen."""

from dataclasses import replace

from training.recipes import ddpm_fraktur_glyphs, ddpm_mnist

RECIPE = replace(
    ddpm_fraktur_glyphs.RECIPE,
    config=replace(ddpm_mnist.RECIPE.config, patch=4),
    objective_settings=ddpm_mnist.RECIPE.objective_settings,
)
