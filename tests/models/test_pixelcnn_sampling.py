"""PixelCNN's sampler: the images of the naive one, as frequent as they are probable."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import row_seeds, uniform
from models.core.contract.operation import run
from models.core.contract.rows import Rows, concat, split
from models.core.pixelcnn.sampler import PixelSampleParams
from models.pixelcnn import Model
from tests.support.models.pixels import BINARY, PLAIN, every_image, pixelcnn
from tests.support.models.tiny import events_of

CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_layers": 5, "dilations": (1, 3, 2), "output": "logistic_mixture", "num_levels": 16},
    {"kernel_size": 5, "input_kernel_size": 3, "num_layers": 3, "dilations": (2, 1), **PLAIN},
    {"kernel_size": 3, "input_kernel_size": 7, "num_layers": 1, **BINARY},
    {"event_shape": (3, 4, 5), "num_levels": 16, "output": "logistic_mixture"},
]
each_config = pytest.mark.parametrize("config", CONFIGS)


def naive(model: Model, inputs: Rows, temperature: float) -> Tensor:
    """Ancestral sampling with one whole forward pass for each colour of each pixel."""
    seed, (num_colours, height, width) = inputs["seed"], model.event_shape
    u = uniform(seed, torch.zeros_like(seed), (model.num_dims,)).view(-1, *model.event_shape)
    x = torch.zeros(len(seed), *model.event_shape, dtype=model.net.hidden.weight.dtype)
    hot = torch.full((len(seed),), temperature)
    for row, column, k in product(range(height), range(width), range(num_colours)):
        params = model.net(2 * x - 1, inputs["label"])[:, k, row, column]
        value = model.grid.values(model.output.sample(params, u[:, k, row, column], hot))
        x[:, k, row, column] = value.to(x.dtype)
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
    model = pixelcnn(**{"event_shape": (1, 7, 9), **config}).to(dtype)
    operation = model.operations()["sample"]
    found = run(operation, inputs_of(model, 5), PixelSampleParams(1.3))["x"]
    assert torch.equal(found, naive(model, asked(5), 1.3))
    assert len({bytes(image.numpy()) for image in found}) > 3


@each_config
def test_the_cached_network_gives_the_numbers_of_the_whole_one(config: dict[str, Any]) -> None:
    model = pixelcnn(**{"event_shape": (1, 6, 5), **config})
    x = 2 * events_of(model, 3).double() - 1
    label = asked(3)["label"]
    expected = model.net(x, label)
    above, left = model.net.empty(3)
    _, num_colours, height, width = x.shape
    for row in range(height):
        rows = torch.full((3,), row)
        drawn = torch.where(torch.arange(height)[:, None] < row, x, 0.7)
        above = model.net.begin_row(above, drawn, rows, label)
        left = torch.zeros_like(left)
        for column in range(width):
            drawn[:, :, row, column:] = 0.7  # what is not drawn yet must not matter
            h, left = model.net.pixel(above, left, drawn, rows, rows * 0 + column, label)
            for k in range(num_colours):
                params = model.net.head(h, drawn[:, :, row, column])[:, k]
                truth = expected[:, k, row, column]
                torch.testing.assert_close(params, truth, atol=1e-10, rtol=0)
                drawn[:, k, row, column] = x[:, k, row, column]


@pytest.mark.parametrize("ahead", [5, 7, 10])
@pytest.mark.parametrize("num_colours", [1, 3])
def test_rows_at_different_pixels_share_a_step(ahead: int, num_colours: int) -> None:
    """Also when both begin an image row, each its own."""
    model = pixelcnn(event_shape=(num_colours, 4, 5))
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


def test_a_step_draws_all_colours_of_a_pixel() -> None:
    model = pixelcnn(event_shape=(3, 2, 3), num_levels=256, output="logistic_mixture").float()
    operation = model.operations()["sample"]
    whole = run(operation, asked(4), PixelSampleParams())["x"].flatten(2)
    rows = operation.init(asked(4), PixelSampleParams())
    assert operation.num_steps(PixelSampleParams()) == 6
    for place in range(6):
        seen = operation.preview(rows)
        assert seen is not None
        assert torch.equal(seen.flatten(2)[..., :place], whole[..., :place])
        assert not bool(seen.flatten(2)[..., place:].any())
        rows = operation.step(rows)
    assert len(whole.flatten().unique()) > 10


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize(("label", "shape"), [(-1, (1, 2, 2)), (1, (1, 2, 2)), (1, (3, 1, 2))])
def test_images_are_as_frequent_as_they_are_probable(
    temperature: float, label: int, shape: tuple[int, int, int]
) -> None:
    model = pixelcnn(event_shape=shape, **BINARY)
    images, num = every_image(shape[1:], 2, shape[0]), 4000
    labels = torch.full((len(images),), label)
    levels = model.grid.levels(images).flatten(1)
    log_probs = model.output.log_probs(model.net(2 * images - 1, labels)).flatten(1, 3)
    tempered = (log_probs / temperature).log_softmax(-1)
    probability = tempered.gather(2, levels[:, :, None]).sum((1, 2)).exp()
    inputs = {"seed": row_seeds(1, num), "label": torch.full((num,), label)}
    drawn = run(model.operations()["sample"], inputs, PixelSampleParams(temperature))["x"]
    digits = 2 ** torch.arange(model.num_dims).flip(0)
    code = (drawn.flatten(1) * digits).sum(1).long()
    count = torch.bincount(code, minlength=len(images))
    assert float(probability.sum()) == pytest.approx(1)
    assert float(probability.max() / probability.min()) > 3
    chi_square = float(((count - num * probability).square() / (num * probability)).sum())
    # Exceeded once in 10,000 times with 15 and with 63 degrees of freedom.
    assert chi_square < {16: 44.3, 64: 113.5}[len(images)]


def test_a_cold_sample_is_the_likeliest_next_pixel_each_time() -> None:
    model = pixelcnn(event_shape=(1, 3, 3), **PLAIN)
    seed = {"seed": row_seeds(0, 3)}
    found = run(model.operations()["sample"], seed, PixelSampleParams(1e-6))["x"]
    params = model.net(2 * found - 1, torch.full((3,), -1))
    assert torch.equal(model.grid.levels(found), model.output.log_probs(params).argmax(-1))


def test_the_default_temperature_is_that_of_the_config() -> None:
    operation = pixelcnn(temperature=0.8).operations()["sample"]
    assert operation.default_params == PixelSampleParams(0.8)
