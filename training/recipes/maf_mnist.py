"""MAF on MNIST, 8 bits: a mixture of logistics a pixel, then two affine blocks."""

from models.maf import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="maf",
    config=Config(
        num_levels=256,
        num_blocks=3,
        num_components=5,
        hidden=(100, 100),
        activation="relu",
        logit_margin=1e-6,
        temperature=0.8,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective_settings={"num_updates": 3_000, "batch_size": 100, "rate": 2e-3},
    gradient_clip=100.0,
    weight_decay=0.001,
    # The masked weights as a dense graph would double the bundle.
    graphs=(),
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
