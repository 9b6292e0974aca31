"""Glow with variational dequantisation on MNIST, 8 bits."""

from models.glow import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="glow",
    config=Config(
        num_levels=256,
        num_scales=2,
        flow_steps=5,
        channels=64,
        num_blocks=1,
        coordinates=True,
        dequantisation="variational",
        dequantisation_channels=24,
        temperature=0.8,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={
        "num_updates": 8_000,
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
