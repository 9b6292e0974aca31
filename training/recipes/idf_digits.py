"""IDF with couplings of two parts on the 8x8 digits of scikit-learn."""

from models.idf import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="idf",
    config=Config(
        num_levels=17,
        num_scales=2,
        num_groups=4,
        flow_steps=1,
        num_parts=2,
        shift=2.0,
        channels=32,
        num_blocks=1,
        prior_channels=48,
        prior_blocks=2,
        num_components=4,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 3000, "batch_size": 64, "rate": 1e-3},
    weight_decay=0.01,
    gradient_clip=100.0,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
