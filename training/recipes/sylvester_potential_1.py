"""Sylvester flow by reverse KL on a potential of Rezende and Mohamed: an uneven ring."""

from models.sylvester import Config
from training.fit.recipe import Recipe
from training.fit.reverse_kl import ReverseKL

RECIPE = Recipe(
    family="sylvester",
    config=Config(num_blocks=32),
    dataset="potential-1",
    objective=ReverseKL,
    objective_settings={
        "target": "potential-1",
        "num_updates": 2000,
        "batch_size": 256,
        "rate": 5e-3,
        "anneal_steps": 500,
    },
    ema_decay=0.998,
    graphs=("decode",),
    ood_scores=("nll", "typicality"),
    ood_sets={"potential-2": False, "potential-3": False, "potential-4": False},
)
