"""NICE on the 8x8 digits of scikit-learn, 17 grey levels."""

from models.nice import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="nice",
    config=Config(num_levels=17, marginal_components=5, num_couplings=6, hidden=(256, 256)),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 4000, "batch_size": 64, "rate": 1e-3},
    gradient_clip=100.0,
    weight_decay=0.1,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
