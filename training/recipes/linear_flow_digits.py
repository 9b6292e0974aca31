"""Linear flow between learned marginals on the 8x8 digits of scikit-learn."""

from models.linear_flow import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="linear_flow",
    config=Config(
        num_levels=17,
        num_blocks=3,
        num_components=8,
        linear="plu",
        logit_margin=0.01,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 4000, "batch_size": 64, "rate": 2e-3},
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
