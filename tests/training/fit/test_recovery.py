"""Recovery training: where its negatives come from, the mathematics of its steps, its state."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models.core.energy.model import EnergyModel
from tests.support.training.tiny import blobs, new_model
from training.data.splits import as_events
from training.fit.contrastive import Contrastive
from training.fit.recovery import Recovery
from training.fit.simple_pictures import simple_pictures


class Bright(EnergyModel):
    """Energy = `slope` times the sum of the pixels, whatever the label."""

    slope = 1.0

    def logits(self, x: Tensor) -> Tensor:
        return -self.slope * x.flatten(1).sum(1, keepdim=True)


def objective(model: EnergyModel, *, seed: int = 0, num: int = 64, **settings: Any) -> Recovery:
    """Recovery training on blobs, small unless said otherwise."""
    small = {
        "batch_size": 16,
        "labelled_batch_size": 16,
        "num_langevin": 2,
        "buffer_size": 32,
        "manifold_steps": 20,
        "num_latents": 4,
    }
    return Recovery(model, blobs(num), seed, **{**small, **settings})


def quiet(slope: float = 1.0, **settings: Any) -> Recovery:
    """All negatives from the manifold, no noise anywhere, and an energy that is known."""
    model = Bright(new_model().config, num_outputs=1)
    model.slope = slope
    none = {"chain_share": 0.0, "simple_share": 0.0, "latent_noise": (0.0, 0.0)}
    steps = {"latent_step_noise": 0.0, "pixel_step_noise": 0.0, "data_noise": 0.0}
    return objective(model, **{**none, **steps, **settings})


def negatives(recovery: Recovery, step: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The images of a step, and its negatives with their labels."""
    x, y = recovery.batches.at(step)
    return x, *recovery._negatives(x, y, step)


def test_the_three_kinds_have_their_shares_and_their_places() -> None:
    recovery = objective(new_model(), chain_share=0.25, simple_share=0.5)
    _, found, _ = negatives(recovery, 3)
    assert found.shape == (16, 1, 8, 8)
    assert int((recovery.chain_age == 2).sum()) == 4, "a quarter are chains, and advance"
    chains = recovery.chains[recovery.chain_age == 2].float().flatten(1)
    distance = torch.cdist(found[:4].flatten(1), chains).min(1).values
    assert float(distance.max()) < 0.02, "kept in half precision"
    losses = recovery.losses(0)
    assert set(losses) == {"loss", "e_data", "e_chain", "e_simple", "e_manifold"}


def test_a_kind_without_a_share_is_neither_made_nor_shown() -> None:
    assert set(quiet().losses(0)) == {"loss", "e_data", "e_manifold"}
    recovery = objective(new_model(), chain_share=0.0, simple_share=1.0)
    assert set(recovery.losses(0)) == {"loss", "e_data", "e_simple"}
    assert recovery.state().keys() == {"chains", "label", "age"}, "no autoencoder was needed"
    assert int(recovery.chain_age.max()) == 0


def test_chains_may_take_other_steps_in_training_than_those_that_serve() -> None:
    def chains(served: float, **settings: Any) -> Tensor:
        recovery = objective(new_model(step_size=served), **settings)
        recovery.losses(5)
        return recovery.chains

    assert torch.equal(chains(0.1), chains(0.9, chain_step_size=0.1))
    assert torch.equal(chains(0.1), chains(0.9, chain_step_size=0.1, chain_step_until=6))
    assert torch.equal(chains(0.9), chains(0.9, chain_step_size=0.1, chain_step_until=5))
    assert torch.equal(chains(0.9), chains(0.9, chain_step_size=0.0))
    assert not torch.equal(chains(0.1), chains(0.9))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_stated_share_of_chains_begins_at_noise(share: float) -> None:
    model = new_model("jem")
    recovery = objective(model, buffer_size=2000, noise_share=share)
    # Starts of classes are dark at the edge, as blobs are; noise is as bright there as anywhere.
    edge = recovery.chains[:, 0, [0, -1]].float().mean((1, 2))
    from_noise = edge > 0.25
    assert stats.binomtest(int(from_noise.sum()), 2000, share).pvalue > 1e-3
    assert 0 <= float(recovery.chains.min()) <= float(recovery.chains.max()) <= 1
    assert len(recovery.chain_label[from_noise].unique()) == (3 if share else 0), "labels stay"


def test_the_shown_energies_are_means_over_their_kinds() -> None:
    shown = objective(new_model())._shown(torch.tensor([1.0, 3.0]), torch.arange(16.0))
    assert {name: value.item() for name, value in shown.items()} == {
        "e_data": 2.0,
        "e_chain": 1.5,
        "e_simple": 5.5,
        "e_manifold": 11.5,
    }


def test_without_noise_and_steps_a_negative_is_the_reconstruction() -> None:
    recovery = quiet(num_latent_steps=0, num_pixel_steps=0)
    x, found, label = negatives(recovery)
    with torch.no_grad():
        expected = recovery.manifold.decode(recovery.manifold.encode(x))
    torch.testing.assert_close(found, expected)
    assert torch.equal(label, recovery.batches.at(0)[1])


def test_latent_noise_moves_an_image_along_the_manifold() -> None:
    def distance(noise: tuple[float, float]) -> float:
        recovery = quiet(num_latent_steps=0, num_pixel_steps=0, latent_noise=noise)
        x, found, _ = negatives(recovery)
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        return float((found - recovery.manifold.decode(recovery.manifold.encode(x))).norm())

    assert 0 < distance((0.05, 0.05)) < distance((0.5, 0.5))


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_latent_steps_go_down_the_energy_of_the_decoded_image(slope: float) -> None:
    energies = []
    for num in (0, 2, 6):
        recovery = quiet(slope, num_latent_steps=num, num_pixel_steps=0)
        _, found, _ = negatives(recovery)
        energies.append(recovery.model.energy(found))
    assert bool((energies[0] > energies[1]).all())
    assert bool((energies[1] > energies[2]).all())


@pytest.mark.parametrize(("slope", "change"), [(0.02, 0.01), (5.0, 0.1), (-5.0, -0.1)])
def test_a_pixel_step_is_half_the_gradient_cut_at_a_tenth_and_stays_in_the_box(
    slope: float, change: float
) -> None:
    before = negatives(quiet(slope, num_latent_steps=0, num_pixel_steps=0))[1]
    after = negatives(quiet(slope, num_latent_steps=0, num_pixel_steps=1))[1]
    torch.testing.assert_close(after, (before - change).clamp(0, 1))
    many = negatives(quiet(slope, num_pixel_steps=30, pixel_step_noise=0.3))[1]
    assert 0 <= float(many.min()) <= float(many.max()) <= 1


def test_the_loss_lowers_the_data_and_raises_all_kinds_of_negatives() -> None:
    class Weighted(Bright):
        """Energy = one weight times the sum of the pixels."""

        def __init__(self) -> None:
            super().__init__(new_model().config, num_outputs=1)
            self.weight = torch.nn.Parameter(torch.ones(()))

        def logits(self, x: Tensor) -> Tensor:
            return self.weight * super().logits(x)

    recovery = objective(Weighted(), data_noise=0.0, l2=0.0)
    x, found, _ = negatives(recovery)
    recovery = objective(Weighted(), data_noise=0.0, l2=0.0)
    loss = recovery.losses(0)["loss"]
    loss.backward()
    expected = (x.flatten(1).sum(1) - found.flatten(1).sum(1)).mean()
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(recovery.model.weight.grad, expected)


def test_making_negatives_leaves_the_weights_trainable_and_out_of_the_graph() -> None:
    recovery = objective(new_model())
    recovery.losses(0)["loss"].backward()
    assert all(p.requires_grad and p.grad is not None for p in recovery.model.parameters())
    assert not negatives(recovery)[1].requires_grad


def test_the_energy_trains_and_the_autoencoder_does_not() -> None:
    recovery = objective(new_model())
    before = {k: v.clone() for k, v in recovery.manifold.state_dict().items()}
    train(recovery, 5)
    for name, tensor in recovery.manifold.state_dict().items():
        assert torch.equal(tensor, before[name])
    own = {id(p) for p in recovery.model.parameters()}
    assert not own & {id(p) for p in recovery.manifold.parameters()}


def test_simple_pictures_are_new_at_every_step() -> None:
    recovery = objective(new_model(), chain_share=0.0, simple_share=1.0)
    one, other = (negatives(recovery, step)[1] for step in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one, negatives(recovery, 0)[1])


def test_a_card_says_what_was_exposed_and_only_then() -> None:
    assert "25%" in Recovery.note({})
    assert "10%" in Recovery.note({"simple_share": 0.1, "rate": 1e-4})
    assert Recovery.note({"simple_share": 0.0}) == ""
    assert Contrastive.note({}) == ""


def train(recovery: Recovery, num_steps: int) -> None:
    """Plain Adam, without the trainer around it."""
    optimizer = torch.optim.Adam(recovery.model.parameters(), lr=1.0, betas=(0.0, 0.999))
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = recovery.learning_rate(step)
        optimizer.zero_grad()
        recovery.losses(step)["loss"].backward()
        optimizer.step()


def test_a_run_goes_on_from_its_state_without_fitting_the_autoencoder_again() -> None:
    model = new_model("jem")
    one = objective(model)
    for step in range(3):
        one.losses(step)
    saved = {name: tensor.clone() for name, tensor in one.state().items()}
    other = objective(model, manifold_steps=0)  # one that was fitted again would be another
    other.load_state(saved)
    assert not any(p.requires_grad for p in other.manifold.parameters())
    for step in (3, 4):
        mine, theirs = one.losses(step), other.losses(step)
        assert {k: v.item() for k, v in mine.items()} == {k: v.item() for k, v in theirs.items()}
    assert saved.keys() == other.state().keys()


def test_a_state_from_before_the_first_use_is_loaded_as_it_is() -> None:
    other = objective(new_model())
    other.load_state(objective(new_model()).state())
    assert "manifold.encoder.0.weight" not in other.state()
    other.losses(0)
    assert "manifold.encoder.0.weight" in other.state()


def test_an_energy_learns_to_tell_what_chains_from_the_data_never_visit() -> None:
    """Blots of the ink of the data, and images near the data that are none of them."""
    held_out = as_events(blobs(200, seed=9).x)
    other_places = as_events(blobs(200, seed=9).x).flip(2).roll(-2, 2)
    simple = simple_pictures(np.random.default_rng(5), 200, (1, 8, 8))
    model = new_model("ebm", seed=1)
    settings: dict[str, Any] = {"buffer_size": 64, "rate": 5e-3, "manifold_steps": 100}
    train(objective(model, num=200, contrastive_steps=150, **settings), 150)
    with torch.no_grad():
        own, *others = (model.energy(x) for x in (held_out, simple, other_places))
    for strange in others:
        truth = [0] * 200 + [1] * 200
        assert roc_auc_score(truth, torch.cat([own, strange]).numpy()) > 0.9
