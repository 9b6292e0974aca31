"""RealNVP on MNIST, 8 bits."""

from models.realnvp import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="realnvp",
    config=Config(
        num_levels=256,
        marginal_components=8,
        num_scales=3,
        num_couplings=3,
        channels=48,
        num_blocks=2,
        coordinates=True,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={
        "num_updates": 6_000,
        "batch_size": 64,
        "rate": 2e-3,
        "warmup_steps": 500,
    },
    gradient_clip=100.0,
    precision="bf16-mixed",
    ema_decay=0.999,
    validate_every=1000,
    max_validated=1000,
    graphs=("log_prob",),
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
