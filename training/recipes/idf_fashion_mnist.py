"""IDF on Fashion-MNIST, 8 bits, made as on MNIST."""

from dataclasses import replace

from training.recipes import idf_mnist

RECIPE = replace(
    idf_mnist.RECIPE,
    dataset="fashion-mnist",
    ood_sets={"mnist": False, "omniglot": True},
)
