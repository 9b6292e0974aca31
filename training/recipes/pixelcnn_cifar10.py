"""Gated PixelCNN on CIFAR-10 in colour, 8 bits, knowing where a pixel is; small, for screening."""

from models.pixelcnn import Config
from training.recipe import Recipe

RECIPE = Recipe(
    family="pixelcnn",
    config=Config(
        num_levels=256,
        output="logistic_mixture",
        num_components=5,
        conditional=False,
        coordinates=True,
        channels=32,
        num_layers=3,
        kernel_size=3,
        input_kernel_size=9,
        dilations=(1, 2),
        head_channels=64,
    ),
    dataset="cifar10",
    height=32,
    width=32,
    num_channels=3,
    objective_settings={"num_updates": 2000, "batch_size": 32, "rate": 3e-3},
    precision="bf16-mixed",
    ema_decay=0.998,
    validate_every=500,
    max_validated=1000,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False},
)
