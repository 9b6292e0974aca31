"""MAF on a table: 30 measurements of cell nuclei from benign tumours."""

from models.maf import Config
from training.fit.recipe import Recipe

RECIPE = Recipe(
    family="maf",
    config=Config(
        num_levels=0,
        num_blocks=3,
        hidden=(64,),
        dropout=0.2,
    ),
    dataset="breast-cancer-benign",
    objective_settings={"num_updates": 4000, "batch_size": 64, "rate": 5e-4},
    weight_decay=0.1,
    ema_decay=0.998,
    validate_every=100,
    ood_scores=("nll", "typicality"),
    ood_sets={"breast-cancer-malignant": False},
)
