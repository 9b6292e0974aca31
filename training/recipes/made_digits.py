"""MADE on the 8x8 digits of scikit-learn: eight orders share one network."""

from models.made import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="made",
    config=Config(
        num_levels=17,
        output="categorical",
        one_hot=True,
        hidden=(256,),
        num_masks=8,
        direct=False,
        dropout=0.4,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 8000, "batch_size": 64, "rate": 1e-3},
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
