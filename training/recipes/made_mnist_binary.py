"""MADE on statically binarised MNIST."""

from models.made import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="made",
    config=Config(
        num_levels=2,
        output="bernoulli",
        hidden=(512, 512),
        num_masks=1,
        direct=True,
        dropout=0.2,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={"num_updates": 30_000, "batch_size": 128, "rate": 1e-3},
    ema_decay=0.999,
    checkpoint_every=2000,
    validate_every=1000,
    max_validated=5000,
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
