"""PixelVAE on statically binarised MNIST: 32 latents, and a PixelCNN that sees 7 rows above."""

from models.pixelvae import Config
from training.annealed import Annealed
from training.recipe import Recipe

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
        num_layers=4,
        kernel_size=3,
        input_kernel_size=7,
        dilations=(1,),
        coordinates=False,
        head_channels=64,
        free_bits=0.1,
        num_samples=1,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective=Annealed,
    objective_settings={
        "num_updates": 5000,
        "batch_size": 32,
        "rate": 1.5e-3,
        "anneal_steps": 600,
    },
    precision="bf16-mixed",
    ema_decay=0.999,
    validate_every=500,
    max_validated=1000,
    ood_scores=("nll", "typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
