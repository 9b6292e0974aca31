"""Variational autoencoder with two latents on scikit-learn's digits, to look at their plane."""

from models.vae import Config
from training.fit.annealed import Annealed
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="vae",
    config=Config(
        num_levels=17,
        output="logistic_mixture",
        num_components=2,
        latent_dims=2,
        encoder_hidden=(128, 64),
        decoder_hidden=(64, 128),
        prior="coupling",
        prior_channels=16,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective=Annealed,
    objective_settings={
        "num_updates": 4000,
        "batch_size": 64,
        "rate": 2e-3,
        "anneal_steps": 400,
    },
    weight_decay=1e-2,
    ema_decay=0.995,
    validate_every=200,
    ood_scores=("nll", "typicality"),
)
