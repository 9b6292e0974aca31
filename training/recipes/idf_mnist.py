"""IDF with couplings of two parts on MNIST, 8 bits."""

from models.idf import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="idf",
    config=Config(
        num_levels=256,
        num_scales=2,
        num_groups=4,
        flow_steps=1,
        num_parts=2,
        shift=2.0,
        channels=32,
        num_blocks=1,
        prior_channels=48,
        prior_blocks=2,
        num_components=5,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={
        "num_updates": 4_000,
        "batch_size": 64,
        "rate": 1e-3,
        "warmup_steps": 200,
    },
    gradient_clip=1000.0,
    precision="bf16-mixed",
    ema_decay=0.999,
    validate_every=1000,
    max_validated=1000,
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
