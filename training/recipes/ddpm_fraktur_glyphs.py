"""DDPM on Fraktur glyphs of 56 x 56 pixels, by class."""

from dataclasses import replace

from training.recipes import ddpm_fashion_mnist

_ON_FASHION = ddpm_fashion_mnist.RECIPE

RECIPE = replace(
    _ON_FASHION,
    config=replace(_ON_FASHION.config, drop_label=0.1, channels=(64, 72), patch=4),
    dataset="fraktur-glyphs",
    height=56,
    width=56,
    background=255,
    objective_settings={**_ON_FASHION.objective_settings, "num_updates": 12_000},
    report=replace(_ON_FASHION.report, num_rated=200, compared_params={}),
)
