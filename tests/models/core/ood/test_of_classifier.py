"""Scores of energy models and classifiers, against numbers worked out in another way."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from models.core.energy.model import EnergyModel
from models.core.ood.of_classifier import (
    ENERGY_SCORES,
    entropy,
    error_probability,
    fit_subspace,
    residual,
)
from tests.support.models.tiny import Quadratic, events, random_energy_model


def table(num: int, dims: int, rank: int, seed: int = 0) -> Tensor:
    """Features of so many independent directions, about a mean that is not 0."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.randn(rank, dims, generator=torch.Generator().manual_seed(5)).double()
    return 3 + torch.randn(num, rank, generator=generator).double() @ axes


def result(model: EnergyModel, name: str, x: Tensor) -> Rows:
    """The columns of an operation."""
    with torch.no_grad():
        return run(model.operations()[name], {"x": x}, NoParams())


@pytest.mark.parametrize("family", ["ebm", "jem"])
def test_features_are_what_the_last_layer_sees(family: str) -> None:
    model = random_energy_model(family)
    x = events(6, model.event_shape)
    found = result(model, "features", x)
    first, last = model.net.head[0], model.net.head[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    convolved = model.net.features(2 * x - 1).double().numpy()
    hidden = convolved @ first.weight.double().numpy().T + first.bias.double().numpy()
    hidden = hidden / (1 + np.exp(-hidden))
    np.testing.assert_allclose(found["features"].numpy(), hidden, atol=1e-4, rtol=1e-4)
    logits = hidden @ last.weight.double().numpy().T + last.bias.double().numpy()
    np.testing.assert_allclose(
        found["energy"].numpy(), -np.log(np.exp(logits).sum(1)), atol=1e-3, rtol=1e-4
    )


def test_features_hold_all_that_classify_says() -> None:
    model = random_energy_model("jem")
    x = events(6, model.event_shape)
    found, expected = (result(model, name, x) for name in ("features", "classify"))
    assert set(expected) < set(found)
    for name, column in expected.items():
        torch.testing.assert_close(found[name], column)


def test_an_energy_of_one_output_has_features_and_no_classes() -> None:
    model = random_energy_model("ebm")
    found = result(model, "features", events(2, model.event_shape))
    assert set(found) == {"energy", "features"}


@pytest.mark.parametrize("family", ["ebm", "jem"])
def test_the_gradients_norm_is_that_of_finite_differences(family: str) -> None:
    model = random_energy_model(family, event_shape=(1, 3, 3), channels=(4,), strides=(1,)).double()
    x, step = events(2, model.event_shape).double(), 1e-5
    found = result(model, "gradient_norm", x)

    def energy(x: Tensor) -> Tensor:
        return -model.net(x).logsumexp(1)

    slopes = []
    for pixel in torch.eye(9, dtype=torch.float64).view(9, 1, 3, 3):
        slopes.append((energy(x + step * pixel) - energy(x - step * pixel)) / (2 * step))
    expected = torch.stack(slopes, 1).norm(dim=1)
    torch.testing.assert_close(found["grad_norm"].double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["energy"].double(), energy(x), rtol=1e-5, atol=1e-6)


def test_of_a_quadratic_the_gradients_norm_is_the_distance() -> None:
    model, width = Quadratic(0.5), 0.5
    x = events(4, model.event_shape)
    found = ENERGY_SCORES["grad_norm"].compute(result(model, "gradient_norm", x), 0.0)
    torch.testing.assert_close(found, (x - 0.5).flatten(1).norm(dim=1) / width**2)


def test_gradients_that_are_too_small_are_strange_to_the_two_sided_score() -> None:
    score = ENERGY_SCORES["grad_norm_typicality"]
    reference = score.fitted({"grad_norm": torch.tensor([1.0, 10.0, 1000.0])})
    assert reference == pytest.approx(math.log(10))
    found = score.compute({"grad_norm": torch.tensor([10.0, 0.1, 100.0, 0.0])}, reference)
    assert found[:3].tolist() == pytest.approx([0, math.log(100), math.log(10)], abs=1e-5)
    assert 50 < float(found[3]) < math.inf


def test_probabilities_that_are_left_and_entropies_are_known() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [math.log(3), 0, -1e4, -1e4], [50, 0, -1e4, -1e4]])
    left, nats = error_probability(logits), entropy(logits)
    assert left.tolist() == pytest.approx([0.75, 0.25, math.exp(-50)], rel=1e-5)
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert nats[:2].tolist() == pytest.approx([math.log(4), by_hand], rel=1e-6)
    assert float(nats[2]) == pytest.approx(51 * math.exp(-50), rel=1e-3)


def test_what_is_left_is_one_minus_the_largest_softmax() -> None:
    logits = 4 * torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    expected = 1 - logits.double().softmax(1).max(1).values
    torch.testing.assert_close(error_probability(logits).double(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("dims", "num_axes"), [(100, 32), (20, 10)])
def test_the_residual_is_that_of_a_singular_value_decomposition(dims: int, num_axes: int) -> None:
    fitted, asked = table(150, dims, dims), table(4, dims, dims, seed=1)
    reference = fit_subspace(fitted)
    assert reference.shape == (dims * (1 + num_axes),)
    mean = fitted.numpy().mean(0)
    minor = np.linalg.eigh(np.cov(fitted.numpy().T))[1][:, : dims - num_axes]
    expected = np.linalg.norm((asked.numpy() - mean) @ minor, axis=1)
    assert residual(asked, reference).tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_features_of_the_subspace_leave_nothing_and_others_all() -> None:
    reference = fit_subspace(table(50, 40, 5))
    assert float(residual(table(4, 40, 5, seed=2), reference).max()) < 1e-5
    assert float(residual(table(4, 40, 40, seed=3), reference).min()) > 1


def test_too_little_for_a_subspace_is_refused() -> None:
    for features in (torch.zeros(1, 5), torch.zeros(5, 1)):
        with pytest.raises(ValueError, match="accepted are 2 and more"):
            fit_subspace(features)
