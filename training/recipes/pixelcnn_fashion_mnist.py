"""Gated PixelCNN on Fashion-MNIST, 8 bits, knowing where a pixel is."""

from models.pixelcnn import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="pixelcnn",
    config=Config(
        num_levels=256,
        output="logistic_mixture",
        num_components=8,
        conditional=False,
        coordinates=True,
        channels=32,
        num_layers=8,
        kernel_size=3,
        input_kernel_size=7,
        dilations=(1,),
        head_channels=64,
    ),
    dataset="fashion-mnist",
    height=28,
    width=28,
    objective_settings={"num_updates": 4000, "batch_size": 64, "rate": 2e-3},
    precision="bf16-mixed",
    ema_decay=0.998,
    validate_every=500,
    max_validated=1000,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "omniglot": True},
)
