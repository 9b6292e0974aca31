"""An i-DenseNet flow on the 8x8 digits of scikit-learn, 17 grey levels."""

from models.residual_flow import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="residual_flow",
    config=Config(
        num_levels=17,
        blocks_at=(24,),
        fully_connected=True,
        channels=64,
        depth=2,
        lipschitz=0.97,
        logit_margin=0.05,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 6000, "batch_size": 64, "rate": 1e-3},
    gradient_clip=100.0,
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
