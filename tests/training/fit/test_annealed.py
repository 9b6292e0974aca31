"""Annealing: what is minimised at each step, what validation sees, and where the rate goes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.latent.model import LatentModel
from models.vae import Config
from tests.support.models.tiny import events_of, random_model
from training.data.splits import Split
from training.fit.annealed import Annealed
from training.fit.objective import MeanLoss
from training.fit.validation import Validation

NUM = 8


def small(family: str = "vae", **config: Any) -> LatentModel:
    """Tiny, with random weights, that trains."""
    model = random_model(family, **config)
    assert isinstance(model, LatentModel)
    return model.requires_grad_(True).train()


def split(model: LatentModel) -> Split:
    """Events as a data set stores them."""
    x = (events_of(model, NUM) * 255).numpy().astype(np.uint8)
    return Split(x, np.zeros(NUM, np.int64))


def value(loss: Tensor) -> float:
    """The number alone."""
    return float(loss.detach())


def annealed(model: LatentModel, **settings: Any) -> Annealed:
    """Of ten steps, each of which sees all events."""
    return Annealed(
        model, split(model), 0, **{"num_updates": 10, "batch_size": NUM, "rate": 1.0, **settings}
    )


def test_the_weight_of_the_kl_rises_and_stays() -> None:
    objective = annealed(small(), anneal_steps=4)
    assert [objective.kl_weight(step) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert annealed(small()).kl_weight(0) == 1


def test_a_step_minimises_the_bound_with_that_weight() -> None:
    """Of one latent the loss is -log p(x given z) + weight * KL: a line in the weight."""
    model = small()
    losses = [value(annealed(model, anneal_steps=steps).losses(0)["loss"]) for steps in (0, 2, 4)]
    full, half, quarter = losses
    assert full - half == pytest.approx(2 * (half - quarter), rel=1e-4)
    assert full > half > quarter
    x, _ = annealed(model).batches.at(0)
    torch.manual_seed(0)
    assert full == pytest.approx(value(model.objective(x).mean()), rel=1e-6)


def test_the_weight_tempers_the_weights_of_several_latents() -> None:
    """Without the KL the bound is log mean_k p(x given z_k), and the rest is log p(z) - log q."""
    model = small("iwae", num_importance_samples=3)
    x = events_of(model, NUM)
    torch.manual_seed(0)
    statistics = model.statistics(x).repeat_interleave(3, 0)
    z, log_q = model.posterior.draw(statistics, torch.randn(3 * NUM, model.num_latents))
    log_prob, rest = model.log_prob_given(x, z), model.log_prior(z) - log_q
    for weight in (0.0, 0.3, 1.0):
        expected = (log_prob + weight * rest).view(NUM, 3).exp().mean(1).log()
        torch.manual_seed(0)
        torch.testing.assert_close(-model.objective(x, kl_weight=weight), expected)


def test_validation_looks_at_the_true_bound() -> None:
    """Neither the weight of the KL nor the free bits change what says which weights are best."""
    values = []
    for free_bits in (0.0, 50.0):
        model = small(free_bits=free_bits)
        annealed(model, anneal_steps=1000).losses(0)
        model.eval()
        look = Validation(split(model), NUM)
        values.append(value(look.loss_at(model, 0)))
        x = events_of(model, NUM)
        torch.manual_seed(0)
        assert values[-1] == pytest.approx(value(model.objective(x).sum()), rel=1e-5)
    assert values[0] == values[1]
    assert Annealed.validates


def test_free_bits_are_charged_in_training_and_have_no_gradient() -> None:
    """max(lambda, KL) of each group, of the mean over the batch."""
    model = small(latent_dims=4, units_per_group=2)
    x = events_of(model, NUM)
    statistics = model.statistics(x)
    z, log_q = model.posterior.draw(statistics, torch.zeros(NUM, 4))
    kl = model.kl(statistics, z, log_q).mean(0).detach()
    assert kl.shape == (2,)
    between = float(kl.mean())

    def loss(free_bits: float) -> Tensor:
        torch.manual_seed(0)
        return model.objective(x, free_bits=free_bits).mean()

    expected = float(kl.clamp(min=between).sum() - kl.sum())
    assert value(loss(between) - loss(0.0)) == pytest.approx(expected, rel=1e-3)
    assert value(loss(float(kl.min()) / 2) - loss(0.0)) == 0
    # With all KL below the free bits only the reconstruction pulls at the encoder.
    parameters = list(model.encoder.parameters())
    torch.manual_seed(0)
    z, _ = model.posterior.draw(model.statistics(x), torch.randn(NUM, 4))
    alone = torch.autograd.grad(-model.log_prob_given(x, z).mean(), parameters)
    found = torch.autograd.grad(loss(100.0), parameters)
    for one, other in zip(found, alone, strict=True):
        torch.testing.assert_close(one, other)


def test_stages_say_how_many_latents_the_bound_takes() -> None:
    model = small("iwae", num_importance_samples=5)
    objective = annealed(model, stages=((2, 3), (6, 5)))
    assert [objective.num_samples(step) for step in range(8)] == [1, 1, 3, 3, 3, 3, 5, 5]
    assert [annealed(model).num_samples(step) for step in (0, 9)] == [5, 5]
    x, _ = objective.batches.at(0)
    for step, num in ((0, 1), (2, 3), (6, 5)):
        torch.manual_seed(step)
        expected = value(model.objective(objective.batches.at(step)[0], num_samples=num).mean())
        assert value(objective.losses(step)["loss"]) == pytest.approx(expected, rel=1e-6)
    assert len(x) == NUM


@pytest.mark.parametrize("stages", [((2, 3),), ((4, 3), (4, 5)), ((2, 5), (6, 3))])
def test_stages_that_do_not_fit_are_refused(stages: Any) -> None:
    with pytest.raises(ValueError, match="accepted are"):
        annealed(small("iwae", num_importance_samples=5), stages=stages)


def test_the_rate_falls_with_the_latents_spent() -> None:
    plain = annealed(small(), warmup_steps=3)
    mean = MeanLoss(small(), split(small()), 0, num_updates=10, rate=1.0, warmup_steps=3)
    for step in range(10):
        assert plain.learning_rate(step) == pytest.approx(mean.learning_rate(step))
    model = small("iwae", num_importance_samples=16)
    staged = annealed(model, stages=((8, 16),), warmup_steps=0)
    # Eight steps of one latent and two of sixteen: at the eighth a fifth of all is spent.
    assert staged.learning_rate(8) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi / 5)))
    assert staged.learning_rate(10) == pytest.approx(0.01)


def test_a_training_begins_with_the_weights_of_a_bundle(tmp_path: Path) -> None:
    other = random_model("vae", seed=1)
    path = save(
        Bundle(
            name="other",
            family="vae",
            config=asdict(Config()),
            weights=other.state_dict(),
            preprocessing=Preprocessing(4, 4, levels=2),
        ),
        tmp_path / "other",
    )
    model = small("iwae", num_importance_samples=5)
    annealed(model, start=str(path))
    for name, tensor in other.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name
    with pytest.raises(ValueError, match="accepted are bundles of like networks"):
        annealed(small(latent_dims=3), start=str(path))
