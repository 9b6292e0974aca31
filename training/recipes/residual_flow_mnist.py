"""An i-DenseNet flow on MNIST at two resolutions, for a GPU."""

from models.residual_flow import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="residual_flow",
    config=Config(
        num_levels=256,
        blocks_at=(0, 8, 8),
        channels=32,
        depth=3,
        lipschitz=0.98,
        logit_margin=0.05,
        exact_terms=5,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={"num_updates": 30000, "batch_size": 128, "rate": 1e-3},
    gradient_clip=100.0,
    weight_decay=0.01,
    ema_decay=0.999,
    validate_every=1000,
    max_validated=1000,
    ood_scores=("nll",),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
