"""PixelVAE on statically binarised MNIST: 32 latents, and a PixelCNN that sees 5 rows above."""

from models.pixelvae import Config
from training.fit.annealed import Annealed
from training.fit.recipe import Recipe, Report

RECIPE = Recipe(
    family="pixelvae",
    config=Config(
        num_levels=2,
        output="bernoulli",
        latent_dims=32,
        encoder="conv",
        encoder_channels=(32, 64, 64),
        encoder_hidden=(128,),
        decoder="conv",
        decoder_channels=(64, 32, 16),
        decoder_hidden=(128,),
        num_features=16,
        channels=32,
        num_layers=3,
        kernel_size=3,
        input_kernel_size=5,
        dilations=(1,),
        coordinates=False,
        head_channels=64,
        free_bits=7.0,
        units_per_group=32,
        num_samples=1,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective=Annealed,
    objective_settings={
        "num_updates": 4500,
        "batch_size": 32,
        "rate": 1.5e-3,
        "anneal_steps": 600,
    },
    precision="bf16-mixed",
    ema_decay=0.998,
    validate_every=500,
    max_validated=1000,
    report=Report(rated_params={"": {"num_samples": 1}}),
    ood_scores=("nll",),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
