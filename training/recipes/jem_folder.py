"""JEM on your own images, a folder per class: --set dataset=FOLDER --name NAME."""

from dataclasses import replace

from training.recipes import jem_fashion_mnist

_FASHION = jem_fashion_mnist.RECIPE

RECIPE = replace(
    _FASHION,
    dataset="your-folder",
    height=0,  # these three as the folder has them
    width=0,
    num_channels=0,
    config=replace(_FASHION.config, num_chains=64, start_rank=6),
    ood_sets={},
)
