"""JEM on Fashion-MNIST, the service's default: classifier first, then energies."""

from models.jem import Config
from training.fit.contrastive import Contrastive
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="jem",
    config=Config(
        channels=(32, 64, 96, 96, 128),
        strides=(2, 1, 2, 1, 2),
        hidden=128,
        num_chains=100,
        start_rank=16,
        step_size=0.1,
        noise_scale=0.005,
        num_steps=60,
    ),
    dataset="fashion-mnist",
    height=28,
    width=28,
    objective=Contrastive,
    objective_settings={
        "classifier_steps": 3000,
        "contrastive_steps": 10000,
        "labelled_batch_size": 128,
        "max_shift": 1,
    },
    adam_betas=(0.0, 0.999),
    precision="bf16-mixed",
    ood_scores=("energy", "energy_typicality"),
    ood_sets={"mnist": False, "omniglot": True},
)
