"""The classifier of a screen on MNIST."""

from dataclasses import replace

from training.recipes import jem_fashion_mnist_classifier

RECIPE = replace(
    jem_fashion_mnist_classifier.RECIPE,
    dataset="mnist",
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
