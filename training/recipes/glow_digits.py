"""Glow with variational dequantisation on the 8x8 digits of scikit-learn."""

from models.glow import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="glow",
    config=Config(
        num_levels=17,
        num_scales=2,
        flow_steps=6,
        channels=48,
        num_blocks=1,
        coordinates=True,
        dequantisation="variational",
        dequantisation_channels=16,
        logit_margin=0.05,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 2000, "batch_size": 64, "rate": 1e-3},
    gradient_clip=100.0,
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
