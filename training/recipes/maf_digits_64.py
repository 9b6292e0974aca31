"""MAF on the 8x8 digits of scikit-learn as vectors of 64 counts."""

from models.maf import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="maf",
    config=Config(
        num_levels=17,
        num_blocks=5,
        hidden=(128, 128),
        dropout=0.2,
        logit_margin=0.01,
    ),
    dataset="digits-64",
    objective_settings={"num_updates": 6000, "batch_size": 64, "rate": 1e-3},
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
)
