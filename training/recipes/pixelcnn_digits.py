"""Gated PixelCNN on the 8x8 digits of scikit-learn, with and without class."""

from models.pixelcnn import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="pixelcnn",
    config=Config(
        num_levels=17,
        output="categorical",
        num_classes=10,
        conditional=True,
        coordinates=True,
        channels=32,
        num_layers=4,
        kernel_size=3,
        input_kernel_size=5,
        dilations=(1,),
        head_channels=64,
        drop_label=0.5,
        dropout=0.3,
    ),
    dataset="digits",
    height=8,
    width=8,
    objective_settings={"num_updates": 4000, "batch_size": 64, "rate": 2e-3},
    weight_decay=0.01,
    ema_decay=0.998,
    validate_every=250,
    ood_scores=("nll", "typicality"),
    ood_sets={"mnist": False, "fashion-mnist": False, "omniglot": True},
)
