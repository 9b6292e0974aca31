"""PixelCNN's sampler: the images of the naive one, as frequent as they are probable."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.noise import row_seeds, uniform
from models.core.operation import Rows, concat, run, split
from models.core.pixelcnn_sampler import PixelSampleParams
from models.pixelcnn import Model
from tests.models.pixels import BINARY, PLAIN, every_image, pixelcnn
from tests.models.tiny import events_of

CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_layers": 5, "dilations": (1, 3, 2), "output": "logistic_mixture", "num_levels": 16},
    {"kernel_size": 5, "input_kernel_size": 3, "num_layers": 3, "dilations": (2, 1), **PLAIN},
    {"kernel_size": 3, "input_kernel_size": 7, "num_layers": 1, **BINARY},
]
each_config = pytest.mark.parametrize("config", CONFIGS)


def naive(model: Model, inputs: Rows, temperature: float) -> Tensor:
    """Ancestral sampling with one whole forward pass for each pixel."""
    seed, width = inputs["seed"], model.event_shape[2]
    u = uniform(seed, torch.zeros_like(seed), (model.num_dims,))
    x = torch.zeros(len(seed), *model.event_shape, dtype=model.net.hidden.weight.dtype)
    for place in range(model.num_dims):
        params = model.net(2 * x[:, 0] - 1, inputs["label"])[:, place // width, place % width]
        hot = torch.full((len(seed),), temperature)
        value = model.grid.values(model.output.sample(params, u[:, place], hot))
        x[:, 0, place // width, place % width] = value.to(x.dtype)
    return x


def asked(num: int) -> Rows:
    """Seeds and labels, some of them none."""
    return {"seed": row_seeds(3, num), "label": torch.arange(num) % 4 - 1}


def inputs_of(model: Model, num: int) -> Rows:
    """The same as a request would bring it: without labels where there are no classes."""
    rows = asked(num)
    return rows if model.num_classes else {"seed": rows["seed"]}


@each_config
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cached_and_naive_sampling_give_the_same_image(
    config: dict[str, Any], dtype: torch.dtype
) -> None:
    model = pixelcnn(event_shape=(1, 7, 9), **config).to(dtype)
    operation = model.operations()["sample"]
    found = run(operation, inputs_of(model, 5), PixelSampleParams(1.3))["x"]
    assert torch.equal(found, naive(model, asked(5), 1.3))
    assert len({bytes(image.numpy()) for image in found}) > 3


@each_config
def test_the_cached_network_gives_the_numbers_of_the_whole_one(config: dict[str, Any]) -> None:
    model = pixelcnn(event_shape=(1, 6, 5), **config)
    x = 2 * events_of(model, 3)[:, 0].double() - 1
    label = asked(3)["label"]
    expected = model.net(x, label)
    above, left = model.net.empty(3)
    for row in range(6):
        rows = torch.full((3,), row)
        drawn = torch.where(torch.arange(6)[:, None] < row, x, 0.7)
        above = model.net.begin_row(above, drawn, rows, label)
        left = torch.zeros_like(left)
        for column in range(5):
            drawn[:, row, column:] = 0.7  # what is not drawn yet must not matter
            params, left = model.net.pixel(above, left, drawn, rows, rows * 0 + column, label)
            torch.testing.assert_close(params, expected[:, row, column], atol=1e-10, rtol=0)
            drawn[:, row, column] = x[:, row, column]


@pytest.mark.parametrize("ahead", [5, 7, 10])
def test_rows_at_different_pixels_share_a_step(ahead: int) -> None:
    """Also when both begin an image row, each its own."""
    model = pixelcnn(event_shape=(1, 4, 5))
    operation, params, inputs = model.operations()["sample"], PixelSampleParams(), asked(4)
    expected = run(operation, inputs, params)["x"]
    late, early = (operation.init(part, params) for part in split(inputs, [2, 2]))
    for _ in range(ahead):
        early = operation.step(early)
    for _ in range(20 - ahead):
        early, late = split(operation.step(concat([early, late])), [2, 2])
    assert torch.equal(operation.finish(early)["x"], expected[2:])
    for _ in range(ahead):
        late = operation.step(late)
    assert torch.equal(operation.finish(late)["x"], expected[:2])


def test_a_step_changes_nothing_it_was_given() -> None:
    model = pixelcnn()
    operation = model.operations()["sample"]
    rows = operation.init(asked(5), PixelSampleParams())
    for _ in range(6):
        before = {name: column.clone() for name, column in rows.items()}
        after = operation.step(rows)
        assert all(torch.equal(rows[name], column) for name, column in before.items())
        rows = after


def test_the_image_grows_pixel_by_pixel() -> None:
    model = pixelcnn(num_levels=2, output="bernoulli").float()
    operation = model.operations()["sample"]
    whole = run(operation, asked(6), PixelSampleParams())["x"].flatten(1)
    rows = operation.init(asked(6), PixelSampleParams())
    assert operation.num_steps(PixelSampleParams()) == 16
    for place in range(16):
        assert torch.equal(rows["x"].flatten(1)[:, :place], whole[:, :place])
        assert not bool(rows["x"].flatten(1)[:, place:].any())
        rows = operation.step(rows)
    assert torch.equal(rows["x"].flatten(1), whole)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("label", [-1, 1])
def test_images_are_as_frequent_as_they_are_probable(temperature: float, label: int) -> None:
    model = pixelcnn(event_shape=(1, 2, 2), **BINARY)
    images, num = every_image((2, 2), 2), 4000
    labels = torch.full((len(images),), label)
    levels = model.grid.levels(images).flatten(1)
    log_probs = model.output.log_probs(model.net(2 * images[:, 0] - 1, labels)).flatten(1, 2)
    tempered = (log_probs / temperature).log_softmax(-1)
    probability = tempered.gather(2, levels[:, :, None]).sum((1, 2)).exp()
    inputs = {"seed": row_seeds(1, num), "label": torch.full((num,), label)}
    drawn = run(model.operations()["sample"], inputs, PixelSampleParams(temperature))["x"]
    code = (drawn.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1).long()
    count = torch.bincount(code, minlength=16)
    assert float(probability.sum()) == pytest.approx(1)
    assert float(probability.max() / probability.min()) > 3
    chi_square = float(((count - num * probability).square() / (num * probability)).sum())
    assert chi_square < 44.3  # exceeded once in 10,000 times with 15 degrees of freedom


def test_a_cold_sample_is_the_likeliest_next_pixel_each_time() -> None:
    model = pixelcnn(event_shape=(1, 3, 3), **PLAIN)
    seed = {"seed": row_seeds(0, 3)}
    found = run(model.operations()["sample"], seed, PixelSampleParams(1e-6))["x"]
    params = model.net(2 * found[:, 0] - 1, torch.full((3,), -1))
    assert torch.equal(model.grid.levels(found)[:, 0], model.output.log_probs(params).argmax(-1))


def test_the_default_temperature_is_that_of_the_config() -> None:
    operation = pixelcnn(temperature=0.8).operations()["sample"]
    assert operation.default_params == PixelSampleParams(0.8)
