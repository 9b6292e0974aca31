"""The classifier of a screen on Fashion-MNIST: the network of the JEM, by cross-entropy alone.

Its energy is then the score of Liu et al. 2020, arXiv:2010.03759, not a density.
"""

from dataclasses import replace

from training.recipes import jem_fashion_mnist

_JEM = jem_fashion_mnist.RECIPE

RECIPE = replace(
    _JEM,
    config=replace(_JEM.config, num_chains=10, start_rank=1),
    objective_settings={
        "classifier_steps": 4000,
        "contrastive_steps": 0,
        "labelled_batch_size": 128,
        "data_noise": 0.0,
        "l2": 0.0,
        "max_shift": 1,
        "buffer_size": 10,
    },
    adam_betas=(0.9, 0.999),
    weight_decay=0.01,
)
