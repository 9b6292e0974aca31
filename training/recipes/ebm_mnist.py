"""EBM on MNIST: one output, no labels, persistent chains."""

from models.ebm import Config
from training.fit.contrastive import Contrastive
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="ebm",
    config=Config(
        channels=(32, 64, 96, 96, 128),
        strides=(2, 1, 2, 1, 2),
        hidden=128,
        num_chains=200,
        start_rank=32,
        step_size=0.1,
        noise_scale=0.005,
        num_steps=100,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective=Contrastive,
    objective_settings={"contrastive_steps": 2000},
    adam_betas=(0.0, 0.999),
    precision="bf16-mixed",
    ood_scores=("energy", "energy_typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
