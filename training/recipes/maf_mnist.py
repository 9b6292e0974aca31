"""MAF on MNIST, 8 bits: five blocks on the logits of dequantised pixels."""

from models.maf import Config
from training.recipe import Recipe

RECIPE = Recipe(
    family="maf",
    config=Config(
        num_levels=256,
        num_blocks=5,
        hidden=(80, 80),
        activation="relu",
        logit_margin=1e-6,
        temperature=0.8,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={"num_updates": 20_000, "batch_size": 100, "rate": 1e-3},
    weight_decay=0.001,
    checkpoint_every=2000,
    validate_every=1000,
    graphs=("log_prob",),
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
