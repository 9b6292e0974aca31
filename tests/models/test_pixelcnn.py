"""PixelCNN: who may see whom, probabilities that sum to one, and what a label changes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.pixelcnn.net import GatedLayer, gate
from models.pixelcnn import Config, Model
from tests.support.models.pixels import BINARY, PLAIN, every_image, pixelcnn
from tests.support.models.tiny import events_of


def labels(model: Model) -> list[Tensor | None]:
    """No label, the label -1, and every class."""
    classes = [torch.tensor(label) for label in range(-1, model.num_classes)]
    return [None, *classes] if model.num_classes else [None]


def influence(model: Model, shape: tuple[int, int]) -> Tensor:
    """How much each pixel's numbers change with each input pixel. -> (H W, H W), >= 0."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.int64)
    jacobian = torch.autograd.functional.jacobian(
        lambda one: model.net(one[None, None], label)[0, 0], x
    )
    size = shape[0] * shape[1]
    return jacobian.abs().sum(2).view(size, size)


@pytest.mark.parametrize(
    "config",
    [
        {"num_layers": 6, "dilations": (1,)},
        {"num_layers": 6, "dilations": (1, 2), "input_kernel_size": 3, **PLAIN},
        {"num_layers": 4, "dilations": (1,), "kernel_size": 5, "input_kernel_size": 7},
    ],
)
def test_a_pixel_sees_all_earlier_pixels_and_no_other(config: dict[str, Any]) -> None:
    shape = (6, 7)
    seen = influence(pixelcnn(event_shape=(1, *shape), **config), shape)
    earlier = torch.ones_like(seen).tril(-1).bool()
    assert bool((seen[~earlier] == 0).all())
    assert bool((seen[earlier] > 0).all())


def test_a_shallow_network_sees_as_far_as_its_kernels_reach() -> None:
    config = {"num_layers": 1, "dilations": (2,), "kernel_size": 3, "input_kernel_size": 5}
    seen = influence(pixelcnn(event_shape=(1, 9, 13), **config), (9, 13))
    row, column = torch.meshgrid(torch.arange(9), torch.arange(13), indexing="ij")
    at = 6 * 13 + 6  # row 6, column 6
    # Two rows above by the input, two more by the layer, which reaches two columns to the sides.
    rows = ((row == 5) | (row == 4)) & ((column - 6).abs() <= 2)
    spread = (row == 2) | (row == 3) | (row == 4) | (row == 5)
    sides = ((column - 6).abs() <= 4) & spread
    left = (row == 6) & (column >= 2) & (column < 6)
    assert bool((seen[at].view(9, 13)[rows | left] > 0).all())
    assert bool((seen[at].view(9, 13)[~(sides | left)] == 0).all())


@pytest.mark.parametrize(
    ("config", "num_levels", "shape"),
    [
        (BINARY, 2, (3, 3)),
        ({**BINARY, **PLAIN}, 2, (3, 3)),
        ({**BINARY, "coordinates": False}, 2, (3, 3)),
        ({**BINARY, "coordinates": False, "place_tables": True}, 2, (2, 3)),
        ({"num_levels": 2, "output": "categorical", "num_classes": 0}, 2, (3, 3)),
        ({"num_levels": 5, "output": "logistic_mixture", **PLAIN}, 5, (2, 2)),
        ({"num_levels": 4, "output": "categorical"}, 4, (2, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_all_images_sum_to_one(
    config: dict[str, Any], num_levels: int, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    model, x = pixelcnn(event_shape=(1, *shape), **config), every_image(shape, num_levels)
    model, x = model.to(dtype), x.to(dtype)
    for label in labels(model):
        log_prob = model.log_prob(x, None if label is None else label.expand(len(x)))
        assert log_prob.dtype == dtype
        total = float(log_prob.double().exp().sum())
        assert total == pytest.approx(1, abs=1e-5 if dtype == torch.float32 else 1e-10)
        assert float(log_prob.std()) > 0.1


@pytest.mark.parametrize("output", ["categorical", "logistic_mixture"])
def test_log_prob_is_the_sum_over_pixels_given_the_drawn_ones(output: str) -> None:
    model = pixelcnn(event_shape=(1, 3, 5), num_levels=7, output=output)
    x = events_of(model, 4).double()
    levels, label = model.grid.levels(x).flatten(1), torch.tensor([-1, 0, 1, 2])
    total = torch.zeros(4, dtype=torch.float64)
    for place in range(15):
        drawn = torch.where(torch.arange(15) < place, x.flatten(1), 0.3).view_as(x)
        params = model.net(2 * drawn - 1, label).flatten(1, 3)[:, place]
        total += model.output.log_probs(params).gather(1, levels[:, place : place + 1])[:, 0]
    torch.testing.assert_close(model.log_prob(x, label), total, atol=1e-10, rtol=0)


def test_log_prob_is_of_the_nearest_grid_values() -> None:
    model = pixelcnn(num_levels=4)
    x = events_of(model, 5).double()
    moved = x + 0.1 * torch.tensor([1, -1]).repeat(8).view(1, 1, 4, 4)
    assert torch.equal(model.log_prob(moved), model.log_prob(x))


def test_every_label_has_its_own_distribution_and_none_is_minus_one() -> None:
    model = pixelcnn()
    x = events_of(model, 1).double().expand(4, -1, -1, -1)
    found = model.log_prob(x, torch.arange(-1, 3))
    assert len(set(found.tolist())) == 4
    torch.testing.assert_close(found[:1], model.log_prob(x[:1]))


def test_the_coordinates_are_seen() -> None:
    """Of a constant image, pixels that see no border differ only by where they are."""
    for ways in ({}, {"coordinates": True}, {"place_tables": True}):
        known = {"coordinates": False, "place_tables": False, **ways}
        model, coordinates = pixelcnn(event_shape=(1, 9, 15), num_layers=1, **known), bool(ways)
        x, label = torch.zeros(1, 1, 9, 15, dtype=torch.float64), torch.tensor([-1])
        inner = model.net(x, label)[0, 0, 5:, 5:-5]
        same = inner - inner[:1, :1]
        differ = float(same.abs().max()) > 1e-3
        assert differ == coordinates
        assert bool((same[1:, :1].abs() > 1e-6).any()) == coordinates
        assert bool((same[:1, 1:].abs() > 1e-6).any()) == coordinates


def test_a_gate_is_twice_the_paper_s_at_twice_its_argument() -> None:
    a = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = 2 * a[:, :4].tanh() * (2 * a[:, 4:]).sigmoid()
    torch.testing.assert_close(gate(a), expected)
    torch.testing.assert_close(gate(a.requires_grad_()), expected)


def test_labels_are_dropped_in_training_only() -> None:
    model = pixelcnn(drop_label=0.5)
    x, y = events_of(model, 64).double(), torch.arange(64) % 3
    labelled, free = model.loss(x, y), model.loss(x)
    torch.testing.assert_close(labelled, -model.log_prob(x, y), atol=0, rtol=0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = model.train().loss(x, y)
    as_free, as_labelled = (loss - free).abs() < 1e-9, (loss - labelled).abs() < 1e-9
    assert bool((as_free | as_labelled).all())
    assert 15 < int(as_free.sum()) < 49
    torch.testing.assert_close(pixelcnn(drop_label=0).train().loss(x, y), labelled)


def test_dropout_is_for_training_only() -> None:
    model = pixelcnn(dropout=0.5)
    x = events_of(model, 3).double()
    assert torch.equal(model.loss(x), model.loss(x))
    with torch.random.fork_rng(devices=[]):
        assert not torch.allclose(model.train().loss(x), model.loss(x))


@pytest.mark.parametrize("config", [BINARY, {"num_levels": 256, "output": "logistic_mixture"}])
def test_training_in_bfloat16_gives_nats_in_float32(config: dict[str, Any]) -> None:
    model = pixelcnn(num_layers=3, **config).float()
    x = events_of(model, 4)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(x)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, model.loss(x), rtol=0.05, atol=0.5)


def test_a_model_without_classes_takes_no_label() -> None:
    for config in (PLAIN, {"conditional": False}):
        model = pixelcnn(**config).float()
        assert model.num_classes == 0
        assert not any(operation.takes_label for operation in model.operations().values())
        x, y = events_of(model, 3), torch.tensor([0, 1, 2])
        assert torch.equal(model.loss(x, y), model.loss(x))


def test_an_operation_knows_the_label_it_is_given() -> None:
    model = pixelcnn().float()
    operation = model.operations()["log_likelihood"]
    x, label = events_of(model, 4), torch.arange(-1, 3)
    inputs = {"seed": row_seeds(0, 4), "x": x, "label": label}
    found = run(operation, inputs, operation.default_params)["log_prob"]
    assert torch.equal(found, model.log_prob(x, label))


def test_dilations_take_turns() -> None:
    model = pixelcnn(num_layers=5, dilations=(1, 3))
    assert [layer.dilation for layer in model.net.gated] == [1, 3, 1, 3, 1]
    assert all(isinstance(layer, GatedLayer) for layer in model.net.layers)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"event_shape": (2, 4, 4)}, r"event_shape .* accepted are \(1, H, W\) and \(3, H, W\)"),
        ({"event_shape": (16,)}, "event_shape"),
        ({"num_levels": 0}, "num_levels 0: accepted are 2"),
        ({"num_levels": 1}, "num_levels 1"),
        ({"num_levels": 4, "output": "bernoulli"}, "bernoulli has 2 levels"),
        ({"kernel_size": 4}, "kernel size 4: accepted are odd numbers from 3"),
        ({"kernel_size": 1}, "kernel size 1"),
        ({"input_kernel_size": 2}, "kernel size 2"),
        ({"num_layers": 0}, "num_layers 0: accepted are 1 or more"),
        ({"dilations": ()}, "dilations"),
        ({"dilations": (1, 0)}, "dilations"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"drop_label": 1.5}, "drop_label 1.5"),
    ],
)
def test_a_bad_config_is_refused(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Model(Config(**config))
