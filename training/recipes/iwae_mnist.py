"""Importance-weighted autoencoder, 50 latents, on statically binarised MNIST.

It begins with the weights of the autoencoder that ships, since 50 latents cost 50 decoders.
"""

from models.iwae import Config
from training.fit.annealed import Annealed
from training.fit.recipe import Recipe, Report
from training.recipes import vae_mnist

RECIPE = Recipe(
    family="iwae",
    # The very network whose weights it takes over.
    config=Config(**{**vars(vae_mnist.RECIPE.config), "num_importance_samples": 50}),
    dataset="mnist",
    height=28,
    width=28,
    objective=Annealed,
    objective_settings={
        "num_updates": 750,
        "batch_size": 64,
        "rate": 1e-3,
        "warmup_steps": 50,
        "stages": ((0, 5), (600, 50)),
        "start": "bundles/vae_mnist",
    },
    precision="bf16-mixed",
    ema_decay=0.99,
    validate_every=150,
    max_validated=500,
    report=Report(rated_params={"": {}}),
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
