"""Figures of likelihood on models and data whose right figures are known."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from models.core.contract.grid import Grid
from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.transforms.transform import Flatten, Standardise
from training.data.splits import Split
from training.measure.inverse_error import inverse_error
from training.measure.likelihood import independent, likelihood


def vectors(num: int, seed: int) -> Split:
    """Two columns of unlike mean and scale."""
    x = np.random.default_rng(seed).normal((3.0, -10.0), (2.0, 0.1), (num, 2))
    return Split(x.astype(np.float32), np.zeros(num, np.int64))


def images(num: int, seed: int = 0) -> Split:
    """Two pixels of four grey levels: the left one is seldom bright, the right one never dark."""
    rng = np.random.default_rng(seed)
    left, right = rng.choice(4, num, p=(0.7, 0.1, 0.1, 0.1)), rng.choice((2, 3), num)
    x = (np.stack([left, right], 1) * 85).astype(np.uint8)
    return Split(x.reshape(num, 1, 1, 2), np.zeros(num, np.int64))


def gaussian(event_shape: tuple[int, ...], num_levels: int) -> FlowModel:
    """No transform but the entrance: independent normals."""
    config = FlowConfig(event_shape=event_shape, num_levels=num_levels, logit_margin=0.0)
    model = FlowModel(config, Flatten(event_shape))
    model.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    return model.eval()


def test_the_log_likelihood_of_a_table_is_in_its_own_units() -> None:
    train, test = vectors(500, 0), vectors(300, 1)
    model = gaussian((2,), 0)
    model.initialise(torch.from_numpy(train.x))
    x = torch.from_numpy(train.x).double()
    normal = Normal(x.mean(0), x.std(0))
    expected = normal.log_prob(torch.from_numpy(test.x).double()).sum(1)
    found = likelihood(model, train, test)
    assert found["test_log_likelihood_exact_nats"] == pytest.approx(
        float(expected.mean()), abs=1e-4
    )
    error = float(expected.std()) / math.sqrt(300)
    assert found["test_log_likelihood_exact_nats_standard_error"] == pytest.approx(error, rel=1e-3)
    assert not [name for name in found if "bits" in name or "independent" in name]


def test_pixels_have_a_bound_that_many_noises_tighten() -> None:
    train, test = images(400), images(400, 1)
    model = gaussian((1, 1, 2), 4)
    found = likelihood(model, train, test)
    one = found["test_log_likelihood_bound_nats"]
    many = found["test_log_likelihood_bound_nats_64_noises_first_400"]
    assert found["test_bits_per_dim_bound"] == pytest.approx(-one / 2 / math.log(2))
    # P(level) is the integral of N over its cell: y = level / 4, z = 2 (y - 1/2)
    edges = torch.linspace(-1, 1, 5).double()
    cells = Normal(torch.zeros(()).double(), 1.0).cdf(edges).diff().log()
    exact = float(cells[torch.from_numpy(test.x // 85).flatten(1).long()].sum(1).mean())
    # Noise is a function of the event, and there are but eight events.
    assert many == pytest.approx(exact, abs=0.02)


def test_a_recipe_says_how_and_on_how_many_events_a_bound_is_rated() -> None:
    train, test = images(400), images(400, 1)
    model = gaussian((1, 1, 2), 4)
    usual = likelihood(model, train, test)
    name = "test_log_likelihood_bound_nats"
    few = likelihood(model, train, test, num_rated=5)
    head = Split(test.x[:5], test.y[:5])
    assert few[f"{name}_first_5"] == likelihood(model, train, head)[name] != usual[name]
    ways = {"": {}, "64_noises": {"num_samples": 64}, "3_noises": {"num_samples": 3}}
    found = likelihood(model, train, test, ways, 300)
    assert len([key for key in found if "nats" in key and "error" not in key]) == 4
    parted = likelihood(model, train, Split(test.x[:300], test.y[:300]))
    assert found[f"{name}_64_noises_first_300"] == parted[f"{name}_64_noises_first_300"]
    assert found[f"{name}_first_300"] == parted[name] != found[f"{name}_3_noises_first_300"]
    assert "test_bits_per_dim_bound_64_noises_first_300" in found


def test_independent_values_are_histograms_of_the_train_split() -> None:
    train, test = images(50_000), images(50_000, 1)
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.1)) + math.log(2)
    assert independent(train, test, Grid(4)) == pytest.approx(entropy, abs=0.02)
    unseen = Split(np.zeros((1, 1, 1, 2), np.uint8), np.zeros(1, np.int64))
    few = images(6)
    black = int((few.x[:, 0, 0, 0] == 0).sum())
    value = -math.log((black + 1) / 10) - math.log(1 / 10)
    assert independent(few, unseen, Grid(4)) == pytest.approx(value), "one is added to each level"


def test_the_inverse_is_measured_not_assumed() -> None:
    class Careless(Standardise):
        def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x, log_abs_det = super().inverse(z)
            return x + 0.3, log_abs_det

    config = FlowConfig(event_shape=(1, 1, 2), num_levels=4, logit_margin=0.0)
    x = images(20).x
    exact = inverse_error(FlowModel(config, Flatten((1, 1, 2))), x)
    assert exact["inverse_error_float32_max"] < 1e-6
    assert exact["values_changed_by_round_trip"] == 0
    careless = FlowModel(config, Flatten((1, 1, 2)))
    careless.flow.parts.append(Careless((2,)))
    found = inverse_error(careless, x)
    assert found["inverse_error_float32_max"] == pytest.approx(0.15, abs=1e-6)
    assert found["values_changed_by_round_trip"] > 0
