"""EBM on MNIST: one output, no labels; an energy that tells strangers, and chains that draw."""

from models.ebm import Config
from training.fit.recipe import Recipe
from training.fit.recovery import Recovery

RECIPE = Recipe(
    family="ebm",
    config=Config(
        channels=(32, 64, 96, 96, 128),
        strides=(2, 1, 2, 1, 2),
        hidden=128,
        num_chains=200,
        start_rank=32,
        step_size=1.0,
        noise_scale=0.005,
        num_steps=200,
    ),
    dataset="mnist",
    height=28,
    width=28,
    objective=Recovery,
    objective_settings={
        "contrastive_steps": 11500,
        "rate_steps": 12000,
        "chain_step_size": 0.1,
        "chain_step_until": 9500,
    },
    adam_betas=(0.0, 0.999),
    precision="bf16-mixed",
    graphs=("logits", "energy_grad"),
    ood_scores=("energy", "energy_typicality"),
    ood_sets={"fashion-mnist": False, "omniglot": True},
)
