"""Variational autoencoder with convolutions on statically binarised MNIST."""

from models.vae import Config
from training.fit.annealed import Annealed
from training.fit.recipe import Recipe, Report

RECIPE = Recipe(
    family="vae",
    config=Config(
        num_levels=2,
        latent_dims=32,
        encoder="conv",
        encoder_channels=(16, 32),
        encoder_hidden=(128,),
        decoder="conv",
        decoder_channels=(32, 16),
        decoder_hidden=(128,),
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective=Annealed,
    objective_settings={
        "num_updates": 20_000,
        "batch_size": 128,
        "rate": 2e-3,
        "anneal_steps": 1000,
    },
    precision="bf16-mixed",
    ema_decay=0.999,
    validate_every=1000,
    report=Report(rated_params={"": {}}),
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
