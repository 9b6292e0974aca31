"""JEM on your own images, a folder per class: --set dataset=FOLDER --name NAME."""

from dataclasses import replace

from training.recipes.jem_fashion_mnist import RECIPE as FASHION

RECIPE = replace(
    FASHION,
    dataset="your-folder",
    config=replace(FASHION.config, num_chains=64, start_rank=6),
    ood_sets={},
)
