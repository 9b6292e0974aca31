"""Recovery training from a recipe to a bundle: its settings, its checkpoints, its card."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training.tiny import LIGHTNING, blobs, new_model, small_recipe
from training.fit.contrastive import Contrastive
from training.fit.recipe import Recipe, Report
from training.fit.recovery import Recovery
from training.fit.trainer import fit
from training.pipeline.make import make

pytestmark = LIGHTNING


def small(**changes: Any) -> Recipe:
    """Twelve steps on scikit-learn's digits, a checkpoint every five."""
    settings = {
        **{"contrastive_steps": 12, "batch_size": 8, "num_langevin": 2, "buffer_size": 16},
        **{"manifold_steps": 5, "num_latents": 4},
    }
    settings |= changes
    return small_recipe(
        objective=Recovery, objective_settings=settings, graphs=(), report=Report(ais_steps=3)
    )


def test_every_setting_is_reached_by_the_name_it_has_in_contrastive_training() -> None:
    changed = small().changed({"l2": "0.5", "latent_noise": "(0.1, 0.2)"}).objective_settings
    assert (changed["l2"], changed["latent_noise"]) == (0.5, (0.1, 0.2))
    ours, theirs = (set(kind.__init__.__kwdefaults__ or {}) for kind in (Recovery, Contrastive))
    assert theirs - ours == {"contrastive_weight"}


def test_a_run_that_ends_early_is_the_beginning_of_the_longer_one(tmp_path: Path) -> None:
    """Its weights average those of the longer run, whose checkpoint it goes on from."""
    early = small(contrastive_steps=11, rate_steps=13)
    ended, stopped = new_model(), new_model()
    fit(early, ended, blobs(64), tmp_path / "ended")
    fit(small(contrastive_steps=13), stopped, blobs(64), tmp_path / "stopped")
    (tmp_path / "stopped" / "trained.safetensors").unlink()
    fit(early, stopped, blobs(64), tmp_path / "stopped")
    for name, tensor in ended.state_dict().items():
        mine = stopped.state_dict()[name]
        torch.testing.assert_close(mine, tensor, rtol=0, atol=0, equal_nan=True)


def test_the_card_of_a_bundle_tells_of_the_exposure(tmp_path: Path) -> None:
    folder = make("small", small(simple_share=0.4), tmp_path / "runs", tmp_path, "")
    assert "40% of the negatives" in (folder / "README.md").read_text()


@pytest.mark.parametrize("num_steps", [10, 12])
def test_the_trainer_goes_on_from_a_checkpoint_as_if_nothing_had_been(
    num_steps: int, tmp_path: Path
) -> None:
    recipe = small(contrastive_steps=num_steps)
    whole, cut = new_model(), new_model()
    fit(recipe, whole, blobs(64), tmp_path / "whole")
    fit(recipe, cut, blobs(64), tmp_path / "cut")
    (tmp_path / "cut" / "trained.safetensors").unlink()  # as if cut off after step ten
    again = new_model(seed=1)
    fit(recipe, again, blobs(64), tmp_path / "cut")
    for name, tensor in whole.state_dict().items():
        for other in (cut, again):
            mine = other.state_dict()[name]
            torch.testing.assert_close(mine, tensor, rtol=0, atol=0, equal_nan=True)
