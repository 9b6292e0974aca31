"""Contrastive training: its buffer, its schedule, its state, and that it learns."""

import math
from typing import Any

import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.core.contract.grid import to_unit
from models.core.energy.model import EnergyModel
from tests.support.training.tiny import blobs, new_model
from training.fit.contrastive import Contrastive


def objective(model: EnergyModel, *, seed: int = 0, num: int = 64, **settings: Any) -> Contrastive:
    """Contrastive training on blobs, small unless said otherwise."""
    small = {"batch_size": 16, "labelled_batch_size": 16, "num_langevin": 2, "buffer_size": 32}
    return Contrastive(model, blobs(num), seed, **{**small, **settings})


def train(contrastive: Contrastive, num_steps: int, start: int = 0) -> None:
    """Plain Adam, without the trainer around it."""
    optimizer = torch.optim.Adam(contrastive.model.parameters(), lr=1.0, betas=(0.0, 0.999))
    for step in range(start, start + num_steps):
        optimizer.param_groups[0]["lr"] = contrastive.learning_rate(step)
        optimizer.zero_grad()
        contrastive.losses(step)["loss"].backward()
        optimizer.step()


def test_chains_begin_evenly_over_the_labels_and_as_often_without_one_as_stated() -> None:
    model = new_model("jem", num_classes=4)
    labels = objective(model, buffer_size=4000, conditional_share=0.7).chain_label
    counts = (labels + 1).bincount(minlength=5)
    assert stats.chisquare(counts, torch.tensor([0.3, *[0.175] * 4]) * 4000).pvalue > 1e-3


def test_without_classes_no_chain_has_a_label_and_no_accuracy_is_shown() -> None:
    contrastive = objective(new_model("ebm"), classifier_steps=5, conditional_share=1.0)
    assert contrastive.num_steps == 1000, "there is no classifier to train first"
    assert set(contrastive.chain_label.tolist()) == {-1}
    assert set(contrastive.losses(0)) == {"loss", "e_data", "e_model"}


@pytest.mark.parametrize(
    ("e_data", "e_model", "loss", "lost"),
    [(9, -9, 1, False), (11, 0, 1, True), (0, -11, 1, True), (0, 0, math.inf, True)],
)
def test_energies_that_run_away_are_a_divergence(
    e_data: float, e_model: float, loss: float, lost: bool
) -> None:
    contrastive = objective(new_model(), max_energy=10.0)
    losses = {"loss": loss, "e_data": e_data, "e_model": e_model}
    assert contrastive.diverged({name: torch.tensor(v) for name, v in losses.items()}) == lost
    assert not contrastive.diverged({"loss": torch.tensor(99.0)}), "a classifier's has no energies"


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_stated_share_of_chains_begins_anew(share: float) -> None:
    # The whole buffer moves at every step, so a chain of age num_langevin has just begun.
    contrastive = objective(new_model(), batch_size=32, fresh_share=share)
    ages = []
    for step in range(40):
        contrastive.losses(step)
        ages.append(contrastive.chain_age.clone())
    fresh = int((torch.stack(ages[1:]) == 2).sum())
    assert stats.binomtest(fresh, 39 * 32, share).pvalue > 1e-3
    oldest = int(torch.stack(ages).max())
    assert (oldest == 80) == (share == 0)
    assert (oldest == 2) == (share == 1)


def test_a_step_moves_as_many_chains_as_the_batch_has_images_and_leaves_the_rest() -> None:
    contrastive = objective(new_model(), batch_size=10, fresh_share=0.0)
    before = contrastive.chains.clone()
    contrastive.losses(0)
    moved = contrastive.chain_age == 2
    assert int(moved.sum()) == 10
    assert torch.equal((contrastive.chains != before).flatten(1).any(1), moved)
    assert 0 <= float(contrastive.chains.min()) <= float(contrastive.chains.max()) <= 1


def test_every_chain_has_its_turn() -> None:
    contrastive = objective(new_model(), batch_size=8, fresh_share=0.0)
    for step in range(60):
        contrastive.losses(step)
    assert int(contrastive.chain_age.min()) > 0


def test_the_classifier_comes_first_and_leaves_the_chains_alone() -> None:
    contrastive = objective(new_model("jem"), classifier_steps=3)
    before = contrastive.chains.clone()
    for step in range(3):
        assert set(contrastive.losses(step)) == {"loss", "accuracy"}
    assert torch.equal(contrastive.chains, before)
    assert set(contrastive.losses(3)) == {"loss", "e_data", "e_model", "accuracy"}
    assert not torch.equal(contrastive.chains, before)


def test_the_loss_is_data_down_samples_up() -> None:
    plain = objective(new_model(), l2=0.0).losses(0)
    contrast = (plain["e_data"] - plain["e_model"]).item()
    assert abs(contrast) > 1e-4
    assert plain["loss"].item() == pytest.approx(contrast, abs=1e-6)
    doubled = objective(new_model(), l2=0.0, contrastive_weight=2.0).losses(0)
    assert doubled["loss"].item() == pytest.approx(2 * contrast, abs=1e-6)


def test_both_energies_are_kept_small() -> None:
    class Level(EnergyModel):
        """Energy 2 at the data, which is bright somewhere, and -5 at samples, which are not."""

        def logits(self, x: Tensor) -> Tensor:
            bright = (x.flatten(1).max(1).values > 0.5)[:, None]
            return torch.where(bright, -2.0, 5.0) + 0 * x.flatten(1).sum(1, keepdim=True)

    model = Level(new_model().config, num_outputs=1)
    contrastive = objective(model, l2=0.1, data_noise=0.0, fresh_share=0.0)
    contrastive.chains.zero_()
    model.config = new_model(noise_scale=0.0).config
    losses = contrastive.losses(0)
    assert losses["e_data"].item() == 2
    assert losses["e_model"].item() == -5
    assert losses["loss"].item() == pytest.approx((2 - -5) + 0.1 * (2**2 + 5**2), rel=1e-5)


def test_sampling_leaves_the_weights_trainable_and_out_of_its_graph() -> None:
    contrastive = objective(new_model())
    contrastive.losses(0)["loss"].backward()
    assert all(p.requires_grad and p.grad is not None for p in contrastive.model.parameters())
    assert not contrastive.chains.requires_grad


def test_a_run_goes_on_from_its_state() -> None:
    model = new_model("jem")
    one = objective(model)
    for step in range(4):
        one.losses(step)
    saved = {name: tensor.clone() for name, tensor in one.state().items()}
    other = objective(model)
    other.load_state(saved)
    torch.manual_seed(5)
    for step in (4, 5):
        mine, theirs = one.losses(step), other.losses(step)
        assert {k: v.item() for k, v in mine.items()} == {k: v.item() for k, v in theirs.items()}
    for name, tensor in one.state().items():
        assert torch.equal(tensor, other.state()[name])
        assert saved["age"].max() < one.chain_age.max(), "what was loaded is a copy"


def test_another_seed_is_another_run() -> None:
    model = new_model()
    one, other = (objective(model, seed=seed).losses(0)["loss"].item() for seed in (0, 1000))
    assert one != other


def test_the_learning_rate_falls_to_a_tenth_in_each_phase() -> None:
    settings: dict[str, Any] = {"classifier_steps": 100, "contrastive_steps": 1000}
    rate = objective(new_model("jem"), classifier_rate=1e-2, rate=1e-3, **settings).learning_rate
    assert rate(0) == pytest.approx(1e-2)
    assert rate(50) == pytest.approx(1e-2 * 0.55)
    assert rate(99) == pytest.approx(1e-3, rel=0.01)
    assert rate(100) == pytest.approx(1e-3 / 200)
    assert rate(200) == pytest.approx(
        1e-3 * 101 / 200 * (0.1 + 0.45 * (1 + math.cos(math.pi * 0.1)))
    )
    assert rate(600) == pytest.approx(1e-3 * 0.55)
    assert rate(1100) == pytest.approx(1e-4)
    assert all(rate(i) > rate(i + 1) > 0 for i in (*range(99), *range(320, 1100)))


def test_a_classifier_may_be_all() -> None:
    rate = objective(new_model("jem"), classifier_steps=10, contrastive_steps=0).learning_rate
    assert [rate(step) > 0 for step in range(11)] == [True] * 11  # asked once after the last step


@pytest.mark.parametrize(
    ("buffer_size", "share", "kept"),
    [(32, 0.5, 8), (400, 0.5, 10), (32, 1.0, 7), (9, 0.9, 8), (8, 0.5, 20)],
)
def test_chains_are_kept_evenly_over_the_labels(buffer_size: int, share: float, kept: int) -> None:
    model = new_model("jem", num_classes=3, num_chains=kept)
    split = objective(model, num=30, buffer_size=buffer_size, conditional_share=share, batch_size=8)
    split.losses(0)
    split.finish()
    counts = (model.chain_label + 1).bincount(minlength=4).tolist()
    available = (split.chain_label + 1).bincount(minlength=4).tolist()
    assert sum(counts) == kept
    for own, some in zip(counts[1:], available[1:], strict=True):
        assert own >= min(kept // 3, some)
    x = to_unit(model.chains).flatten(1)
    for image, label in zip(x, model.chain_label, strict=True):
        own = split.chains[split.chain_label == label].float().flatten(1)
        assert float((own - image).abs().amax(1).min()) <= 0.5 / 255 + 1e-3


def test_old_chains_are_kept_before_young_ones() -> None:
    model = new_model("ebm", num_chains=8)
    contrastive = objective(model, buffer_size=16)
    contrastive.chain_age.copy_(torch.arange(16) * 7 % 16)
    levels = torch.arange(16)[:, None, None, None] / 255
    contrastive.chains.copy_(levels.expand_as(contrastive.chains))
    contrastive.finish()
    kept = contrastive.chain_age[model.chains[:, 0, 0, 0].long()]
    assert len(set(kept.tolist())) == 8
    assert int(kept.min()) >= 7, "the lower half is 0 to 6"


def test_an_energy_model_learns_where_the_data_are() -> None:
    model = new_model("ebm", seed=1)
    held_out = torch.from_numpy(blobs(200, seed=9).x).float() / 255
    noise = torch.rand(held_out.shape, generator=torch.Generator().manual_seed(0))
    dark = held_out * 0.2
    settings: dict[str, Any] = {
        "buffer_size": 64,
        "num_langevin": 10,
        "rate": 5e-3,
        "fresh_start": "noise",
    }
    train(objective(model, num=200, contrastive_steps=200, **settings), 200)
    with torch.no_grad():
        own, *others = (model.energy(x) for x in (held_out, noise, dark))
    for strange in others:
        truth = [0] * 200 + [1] * 200
        assert roc_auc_score(truth, torch.cat([own, strange]).numpy()) > 0.95


def test_a_joint_model_learns_the_labels_as_well() -> None:
    model = new_model("jem", seed=1)
    settings: dict[str, Any] = {
        "classifier_steps": 60,
        "classifier_rate": 5e-3,
        "contrastive_steps": 60,
    }
    train(objective(model, num=200, rate=1e-3, **settings), 120)
    test = blobs(200, seed=9)
    x = torch.from_numpy(test.x).float() / 255
    with torch.no_grad():
        accuracy = (model.logits(x).argmax(1) == torch.from_numpy(test.y)).float().mean()
    assert float(accuracy) > 0.95
