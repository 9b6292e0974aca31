"""Glow on Fashion-MNIST, 8 bits, as on MNIST but behind a map that evens out the marginals."""

from dataclasses import replace

from training.recipes import glow_mnist

_ON_MNIST = glow_mnist.RECIPE

RECIPE = replace(
    _ON_MNIST,
    config=replace(_ON_MNIST.config, marginal_components=8),
    dataset="fashion-mnist",
    objective_settings={**_ON_MNIST.objective_settings, "num_updates": 4_000},
    ood_sets={"mnist": False, "omniglot": True},
)
