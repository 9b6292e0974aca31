"""DDPM on Fashion-MNIST, with classes and without."""

from models.ddpm import Config
from training.fit.recipe import Recipe, Report

RECIPE = Recipe(
    family="ddpm",
    config=Config(
        drop_label=0.2,
        num_train_steps=1000,
        channels=(56, 80),
        num_blocks=1,
        attention_levels=(1,),
        patch=2,
        embedding=96,
        sampler="dpm_solver_pp",
        num_steps=20,
        spacing="even",
        clip=False,
    ),
    dataset="fashion-mnist",
    height=28,
    width=28,
    objective_settings={
        "num_updates": 20_000,
        "batch_size": 64,
        "rate": 1e-3,
        "warmup_steps": 500,
    },
    precision="bf16-mixed",
    ema_decay=0.9995,
    validate_every=1000,
    max_validated=1000,
    report=Report(
        rated_params={"100_terms": {"num_terms": 100}, "ode": {"estimator": "ode"}},
        num_rated=300,
        compared_params={
            "dpm_solver_pp_20": {},
            "ddim_50": {"sampler": "ddim", "num_steps": 50, "eta": 0.3},
            "ancestral_1000": {
                "sampler": "ancestral_posterior",
                "num_steps": 1000,
                "spacing": "auto",
                "clip": True,
            },
        },
    ),
)
