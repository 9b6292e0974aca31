"""A bundle of pairs by either loss, from a recipe to its card."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.core.bundle.bundle import load
from models.sylvester import Config
from tests.support.training.tiny import LIGHTNING
from training.fit.objective import MeanLoss
from training.fit.recipe import Recipe
from training.fit.reverse_kl import ReverseKL
from training.measure import plane
from training.pipeline.make import make

pytestmark = LIGHTNING
LOSSES: dict[str, dict[str, Any]] = {
    "reverse": {
        "objective": ReverseKL,
        "objective_settings": {"target": "potential-2", "num_updates": 5, "batch_size": 16},
    },
    "forward": {
        "objective": MeanLoss,
        "objective_settings": {"num_updates": 5, "batch_size": 16},
    },
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_recipe_chooses_the_loss(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plane, "_SIDE", 40)
    recipe = Recipe(
        family="sylvester",
        config=Config(kind="planar", num_blocks=1),
        dataset="potential-2",
        ema_decay=0.9,
        graphs=(),
        ood_scores=("nll",),
        **LOSSES[loss],
    )
    folder = make("small", recipe, tmp_path / "runs", tmp_path, "")
    bundle, card = load(folder), (folder / "README.md").read_text()
    assert bundle.feature_names == ("x_1", "x_2")
    assert bundle.preprocessing is None
    assert {"samples.png", "report"} <= {path.name for path in folder.iterdir()}
    assert bundle.metrics["reverse_kl_nats"] > 0
    assert bundle.metrics["forward_kl_nats"] > 0
    for name in ("reverse_kl_nats", "the target at the left", "1,500 calibration"):
        assert name in card
    # Whatever the data would set has its first value where they are not looked at.
    mean = bundle.weights["flow.parts.0.mean"]
    assert torch.equal(mean, torch.zeros(2)) == (loss == "reverse")
    assert ("met no data" in card) == (loss == "reverse")
    assert ("fitted on the train split alone" in card) == (loss == "forward")
