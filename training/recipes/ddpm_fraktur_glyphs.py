"""DDPM on Fraktur glyphs of 56 x 56 pixels, by class."""

from models.ddpm import Config
from training.recipe import Recipe

RECIPE = Recipe(
    family="ddpm",
    config=Config(
        drop_label=0.1,
        num_train_steps=1000,
        channels=(64, 72),
        num_blocks=1,
        attention_levels=(1,),
        patch=4,
        embedding=96,
        sampler="ddim",
        num_steps=50,
    ),
    dataset="fraktur-glyphs",
    height=56,
    width=56,
    background=255,
    objective_settings={
        "num_updates": 12_000,
        "batch_size": 64,
        "rate": 1e-3,
        "warmup_steps": 500,
    },
    precision="bf16-mixed",
    ema_decay=0.9995,
    validate_every=1000,
    max_validated=1000,
)
