"""The weights of the best look at the validation split are kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.core.contract.families import family
from models.core.contract.model import GenerativeModel
from tests.support.training.tiny import LIGHTNING, blobs
from training.data.splits import Split
from training.fit.objective import MeanLoss
from training.fit.recipe import Recipe
from training.fit.trainer import fit
from training.fit.validation import BestWeights, Validation

pytestmark = LIGHTNING


def flow() -> GenerativeModel:
    """An untrained tiny flow over 8x8 images of 16 levels."""
    module = family("realnvp")
    torch.manual_seed(0)
    config = module.Config(event_shape=(1, 8, 8), num_levels=16, num_couplings=1)
    model: GenerativeModel = module.Model(config)
    return model


def recipe(num_updates: int = 30, rate: float = 1e-2, every: int = 5) -> Recipe:
    """A short run with a look every few steps."""
    return Recipe(
        family="realnvp",
        config=family("realnvp").Config(num_levels=16, num_couplings=1),
        dataset="digits",
        height=8,
        width=8,
        objective_settings={
            "num_updates": num_updates,
            "batch_size": 16,
            "rate": rate,
            "warmup_steps": 1,
        },
        ema_decay=0.5,
        checkpoint_every=10,
        validate_every=every,
    )


def loss_on(model: GenerativeModel, split: Split) -> float:
    """The mean loss at the noise of a look."""
    validation = Validation(split, 10_000)
    with torch.no_grad():
        model.eval()
        total = sum(
            float(validation.loss_at(model, batch)) for batch in range(validation.num_batches)
        )
    return total / len(split)


def test_a_look_is_the_same_every_time_and_touches_no_generator() -> None:
    model, split = flow(), blobs(300)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = loss_on(model, split)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert loss_on(model, split) == first


def test_a_look_takes_the_first_rows() -> None:
    split = blobs(300)
    few = Validation(split, 40)
    assert few.num_batches == 1
    assert (few.x == split.x[:40]).all()


def test_the_run_ends_with_the_weights_of_its_best_look(tmp_path: Path) -> None:
    model, validation = flow(), blobs(60, seed=1)
    untrained = loss_on(model, validation)
    fit(recipe(), model, blobs(100), tmp_path, validation)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["validation_loss_nats"] == pytest.approx(loss_on(model, validation), rel=1e-5)
    assert best["validation_loss_nats"] < untrained
    assert best["step"] % 5 == 0


def test_later_and_worse_weights_are_not_kept(tmp_path: Path) -> None:
    kept, last, train = flow(), flow(), blobs(20)
    # What is learnt is bright, what is looked at is dark: in the end every step makes it worse.
    dark = Split(255 - train.x, train.y)
    fit(recipe(60), kept, train, tmp_path / "kept", dark)
    fit(recipe(60), last, train, tmp_path / "last")
    best = json.loads((tmp_path / "kept" / "best.json").read_text())
    assert best["step"] < 60
    assert loss_on(kept, dark) < loss_on(last, dark) - 5


def test_without_a_validation_split_the_end_is_the_end(tmp_path: Path) -> None:
    fit(recipe(10), flow(), blobs(40), tmp_path)
    assert not (tmp_path / "best.json").exists()
    assert BestWeights(tmp_path).best == float("inf")


def test_only_objectives_that_say_so_are_validated(tmp_path: Path) -> None:
    class Blind(MeanLoss):
        validates = False

    fit(replace(recipe(10), objective=Blind), flow(), blobs(40), tmp_path, blobs(20))
    assert not (tmp_path / "best.json").exists()
