"""JEM on Fashion-MNIST whose energy tells strangers: classifier first, then recovery training."""

from dataclasses import replace

from training.fit.recovery import Recovery
from training.recipes import jem_fashion_mnist

_JEM = jem_fashion_mnist.RECIPE

RECIPE = replace(
    _JEM,
    config=replace(_JEM.config, step_size=0.5, num_steps=100),
    objective=Recovery,
    objective_settings={
        "classifier_steps": 3000,
        "contrastive_steps": 15000,
        "labelled_batch_size": 128,
        "max_shift": 1,
        "noise_share": 0.2,
    },
    graphs=("logits", "energy_grad"),
)
