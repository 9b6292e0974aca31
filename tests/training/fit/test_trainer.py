"""Runs that are cut off go on as if they had not been; runs that diverge begin again."""

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from models.core.energy.model import EnergyModel
from tests.support.training.tiny import LIGHTNING, blobs, new_model, small_recipe
from training.data.batches import Batches
from training.fit.contrastive import Contrastive
from training.fit.objective import MeanLoss, Objective
from training.fit.recipe import Recipe
from training.fit.trainer import Diverged, RunState, fit

pytestmark = LIGHTNING


class PowerCut(Exception):
    """What ends a run from outside."""


class Interrupted(Contrastive):
    """Stops at a step."""

    def __init__(
        self, *args: Any, stop_at: int, by: type[BaseException] = PowerCut, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.stop_at, self.by = stop_at, by

    def losses(self, step: int) -> dict[str, Tensor]:
        if step == self.stop_at:
            raise self.by
        return super().losses(step)


class Straight(Objective):
    """The slope of every weight is 1, so Adam moves each by the learning rate at every step."""

    num_steps = 6

    def losses(self, step: int) -> dict[str, Tensor]:
        return {"loss": sum((p.sum() for p in self.model.parameters()), torch.zeros(()))}

    def learning_rate(self, step: int) -> float:
        return 0.01 * (step + 1)


class Fragile(MeanLoss):
    """Poisons the weights at a step of the first seed; whoever keeps them goes on failing."""

    def __init__(self, *args: Any, poison_at: int = 0, num_steps: int = 20) -> None:
        super().__init__(*args, num_updates=num_steps, batch_size=8)
        self.poison_at = poison_at

    def losses(self, step: int) -> dict[str, Tensor]:
        if step == self.poison_at and self.seed == 0:
            with torch.no_grad():
                next(self.model.parameters()).fill_(torch.nan)
        return super().losses(step)


class Runaway(Objective):
    """Energies beyond all bounds, of a finite loss, from a step on and with every seed."""

    num_steps = 20
    seeds: list[int] = []  # noqa: RUF012, of all attempts

    def __init__(self, *args: Any, lowest: float = -50.0) -> None:
        super().__init__(*args)
        self.lowest = lowest
        self.seeds.append(self.seed)

    def losses(self, step: int) -> dict[str, Tensor]:
        loss = self.model.loss(Batches(self.train, 8, 0).at(step)[0]).mean()
        return {"loss": loss, "e_data": torch.tensor(-51.0 if step >= 7 else 49.0)}

    def diverged(self, losses: Mapping[str, Tensor]) -> bool:
        return float(losses["e_data"]) < self.lowest or super().diverged(losses)

    def learning_rate(self, step: int) -> float:
        return 1e-3


def run(recipe: Recipe, folder: Path) -> tuple[EnergyModel, RunState]:
    """Train a new model as the recipe says; the state of the run."""
    model = new_model(recipe.family)
    return model, fit(recipe, model, blobs(40), folder)


def with_objective(objective: type[Objective], **settings: Any) -> Recipe:
    """A small recipe with another objective."""
    return small_recipe(objective=objective, objective_settings=settings)


def interrupted(recipe: Recipe, stop_at: int, by: type[BaseException] = PowerCut) -> Recipe:
    """The same run, but for its end."""
    settings = {**recipe.objective_settings, "stop_at": stop_at, "by": by}
    return replace(recipe, objective=Interrupted, objective_settings=settings)


def assert_same(one: EnergyModel, other: EnergyModel) -> None:
    """Weights and buffers, bit for bit."""
    expected = other.state_dict()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, equal_nan=True, msg=name)


@pytest.mark.parametrize("name", ["ebm", "jem"])
@pytest.mark.parametrize("stops", [(12,), (3, 7, 18)])
def test_a_run_that_was_cut_off_ends_as_one_that_was_not(
    name: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    recipe = small_recipe(name)
    if name == "jem":
        phases = {"classifier_steps": 8, "contrastive_steps": 12}
        recipe = small_recipe(name, objective_settings={**recipe.objective_settings, **phases})
    whole, _ = run(recipe, tmp_path / "whole")
    for stop in stops:
        with pytest.raises(PowerCut):
            run(interrupted(recipe, stop), tmp_path / "cut")
        torch.manual_seed(stop)  # another process has another generator
    # It stops at step 3 again if it begins anew instead of going on.
    resumed, state = run(interrupted(recipe, 3), tmp_path / "cut")
    assert state == RunState()
    assert_same(resumed, whole)


def test_a_key_that_ends_a_run_does_not_make_it_a_finished_one(tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run(interrupted(small_recipe(), 12, KeyboardInterrupt), tmp_path)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert not (tmp_path / "trained.safetensors").exists()
    assert_same(run(small_recipe(), tmp_path)[0], run(small_recipe(), tmp_path / "whole")[0])


def test_training_changes_the_weights_and_keeps_chains(tmp_path: Path) -> None:
    model, _ = run(small_recipe(), tmp_path)
    before = new_model()
    assert not torch.equal(model.net.head[0].weight, before.net.head[0].weight)  # type: ignore[arg-type]
    assert int(model.chains.float().std()) > 0
    assert set(model.chain_label.tolist()) == {-1}


def test_a_finished_run_is_read_not_repeated(tmp_path: Path) -> None:
    recipe = small_recipe()
    trained, _ = run(recipe, tmp_path)
    kept = load_file(tmp_path / "trained.safetensors")
    (tmp_path / "last.ckpt").unlink()
    again, _ = run(with_objective(Runaway), tmp_path)  # would diverge if it were run
    assert_same(again, trained)
    assert kept.keys() == trained.state_dict().keys()


def test_the_model_ends_with_averaged_weights(tmp_path: Path) -> None:
    model, _ = run(with_objective(Straight), tmp_path)
    # Adam with slope 1: each weight falls by exactly the rate; the average starts at step 1.
    place = average = 0.0
    for step in range(6):
        place -= 0.01 * (step + 1)
        average = place if step == 0 else 0.9 * average + 0.1 * place
    assert abs(average - place) > 0.01
    for found, start in zip(model.parameters(), new_model().parameters(), strict=True):
        torch.testing.assert_close(found, start + average, atol=1e-5, rtol=0)


@pytest.mark.parametrize("poison_at", [13, 6, 2])
def test_a_run_that_diverges_restarts_from_good_weights_with_a_new_seed(
    poison_at: int, tmp_path: Path
) -> None:
    model, state = run(with_objective(Fragile, poison_at=poison_at), tmp_path)
    assert state == RunState(1, (poison_at,))
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    # A later look at the folder still tells of it.
    assert run(with_objective(Fragile), tmp_path)[1] == state


def test_a_restart_takes_the_older_of_two_checkpoints(tmp_path: Path) -> None:
    class Watched(Fragile):
        first: list[int] = []  # noqa: RUF012

        def losses(self, step: int) -> dict[str, Tensor]:
            if self.seed == 1000:
                self.first.append(step)
            return super().losses(step)

    run(with_objective(Watched, poison_at=13), tmp_path)
    assert Watched.first == list(range(5, 20)), "checkpoints were made after 5 and 10 steps"


def test_hopeless_runs_are_given_up(tmp_path: Path) -> None:
    Runaway.seeds.clear()
    recipe = small_recipe(objective=Runaway, objective_settings={}, max_restarts=2, seed=7)
    with pytest.raises(Diverged, match=r"step 7: .*-51"):
        run(recipe, tmp_path)
    assert Runaway.seeds == [7, 1007, 2007]
    assert not (tmp_path / "trained.safetensors").exists()


def test_the_objective_says_what_diverges(tmp_path: Path) -> None:
    recipe = small_recipe(objective=Runaway, objective_settings={"lowest": -51.5})
    assert run(recipe, tmp_path)[1] == RunState()


def test_the_seed_decides(tmp_path: Path) -> None:
    runs = [run(small_recipe(seed=seed), tmp_path / str(i))[0] for i, seed in enumerate((0, 0, 1))]
    assert_same(runs[0], runs[1])
    with pytest.raises(AssertionError):
        assert_same(runs[0], runs[2])
