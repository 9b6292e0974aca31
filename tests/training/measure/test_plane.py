"""Figures and pictures of models of pairs, where the right ones are known."""

import math
from dataclasses import replace

import pytest
import torch

from models.core.distributions.targets import GAUSSIAN_FACTOR, GAUSSIAN_MEAN
from models.core.flow.density import FlowConfig
from models.core.flow.model import FlowModel
from models.core.transforms.transform import Flatten, Standardise
from training.data.splits import Dataset, Split, load
from training.measure import plane


def normal(name: str = "gaussian") -> tuple[FlowModel, Dataset]:
    """Two independent normals, in place of the target's correlated ones; no data but a few rows."""
    model = FlowModel(FlowConfig(event_shape=(2,), num_levels=0), Flatten((2,)))
    model.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    entrance = model.flow.parts[0]
    assert isinstance(entrance, Standardise)
    entrance.mean.copy_(torch.tensor(GAUSSIAN_MEAN))
    entrance.std.copy_(torch.tensor([1.0, 0.8]))
    data = load("potential-1")
    rows = Split(data.splits["test"].x[:50], data.splits["test"].y[:50])
    splits = dict.fromkeys(data.splits, rows)
    return model.eval().requires_grad_(False), replace(data, name=name, splits=splits)


def test_divergences_from_a_gaussian_are_the_known_ones() -> None:
    model, data = normal()
    found = plane.divergences(model, data)
    mean, factor = torch.tensor(GAUSSIAN_MEAN), torch.tensor(GAUSSIAN_FACTOR)
    target = torch.distributions.MultivariateNormal(mean, scale_tril=factor)
    own = torch.distributions.MultivariateNormal(mean, torch.diag(torch.tensor([1.0, 0.64])))
    divergence = torch.distributions.kl_divergence
    assert found["target_log_z_nats"] == pytest.approx(math.log(0.6), abs=1e-6)
    error = found["reverse_kl_nats_standard_error"]
    assert 0 < error < 0.05
    expected = float(divergence(own, target))
    assert found["reverse_kl_nats"] == pytest.approx(expected, abs=4 * error)
    assert found["reverse_kl_up_to_log_z_nats"] == pytest.approx(
        found["reverse_kl_nats"] - math.log(0.6)
    )
    expected = float(divergence(target, own))
    assert found["forward_kl_nats"] == pytest.approx(expected, abs=1e-4)
    assert found["mass_in_the_box"] == pytest.approx(1, abs=1e-4)


def test_other_data_have_no_divergence() -> None:
    assert plane.divergences(*normal("breast-cancer")) == {}


@pytest.mark.parametrize("name", ["gaussian", "some-table"])
def test_the_picture_has_three_panels(name: str) -> None:
    figure = plane.picture(*normal(name))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["target" if name == "gaussian" else "test rows", "flow", "samples"]
    image = figure.axes[1].images[0].get_array()
    assert image is not None
    left, right, bottom, top = figure.axes[1].images[0].get_extent()
    row, column = divmod(int(image.argmax()), image.shape[1])
    across = left + (column + 0.5) / image.shape[1] * (right - left)
    up = bottom + (row + 0.5) / image.shape[0] * (top - bottom)
    assert (across, up) == pytest.approx(GAUSSIAN_MEAN, abs=0.05), "the right way up"
