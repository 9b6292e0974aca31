"""The classifier of a screen on CIFAR-10 in colour."""

from dataclasses import replace

from training.recipes import jem_fashion_mnist_classifier

_CLASSIFIER = jem_fashion_mnist_classifier.RECIPE

RECIPE = replace(
    _CLASSIFIER,
    dataset="cifar10",
    height=32,
    width=32,
    num_channels=3,
    objective_settings={**_CLASSIFIER.objective_settings, "max_shift": 3},
    weight_decay=0.05,
    ood_sets={"mnist": False, "fashion-mnist": False},
)
