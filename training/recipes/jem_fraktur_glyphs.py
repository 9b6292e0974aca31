"""JEM on printed Fraktur letters, 56 x 56 pixels, 42 classes."""

from models.jem import Config
from training.fit.contrastive import Contrastive
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="jem",
    config=Config(
        channels=(24, 48, 64, 96, 128),
        strides=(2, 2, 1, 2, 2),
        hidden=128,
        num_chains=126,
        start_rank=6,
        step_size=0.2,
        noise_scale=0.005,
        num_steps=60,
    ),
    dataset="fraktur-glyphs",
    height=56,
    width=56,
    background=255,
    objective=Contrastive,
    objective_settings={
        "classifier_steps": 2000,
        "contrastive_steps": 6000,
        "labelled_batch_size": 128,
        "max_shift": 2,
    },
    adam_betas=(0.0, 0.999),
    precision="bf16-mixed",
    ood_scores=("energy", "energy_typicality"),
    ood_sets={"omniglot": False, "mnist": True, "fashion-mnist": True},
)
