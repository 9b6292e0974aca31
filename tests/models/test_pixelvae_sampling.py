"""PixelVAE's programs: the images of naive sampling, as frequent as they are probable."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.noise import normal, row_seeds, uniform
from models.core.contract.operation import run
from models.core.contract.rows import Rows, concat, split
from models.core.latent.pixel_programs import PixelLatentSampleParams, PixelReconstructParams
from models.core.pixelcnn.sampler import PixelSampleParams
from models.pixelvae import Model
from tests.support.models.pixels import every_image
from tests.support.models.pixelvaes import CONFIGS, pixelvae
from tests.support.models.tiny import events_of, latents_of

each_config = pytest.mark.parametrize("config", CONFIGS)


def naive(model: Model, seed: Tensor, z: Tensor, temperature: float) -> Tensor:
    """Ancestral sampling given latents with one whole forward pass for each pixel."""
    width = model.event_shape[2]
    u = uniform(seed, torch.zeros_like(seed), (model.num_dims,), 1)
    x, label = z.new_zeros(len(z), *model.event_shape), torch.full((len(z),), -1)
    hot = torch.full((len(z),), temperature)
    for place in range(model.num_dims):
        params = model.net(2 * x - 1, label, model.features(z))[:, 0]
        params = params[:, place // width, place % width]
        value = model.grid.values(model.output.sample(params, u[:, place], hot))
        x[:, 0, place // width, place % width] = value.to(x.dtype)
    return x


def noise(model: Model, seed: Tensor) -> Tensor:
    """Of the latents. Shapes: (B,) -> float32 (B, D)."""
    return normal(seed, torch.zeros_like(seed), (model.num_latents,))


@each_config
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cached_and_naive_sampling_give_the_same_image(
    config: dict[str, Any], dtype: torch.dtype
) -> None:
    model, seed = pixelvae(event_shape=(1, 5, 6), **config).to(dtype), row_seeds(3, 5)
    found = run(model.operations()["sample"], {"seed": seed}, PixelLatentSampleParams(1.3, 0.8))
    z = model.from_base((0.8 * noise(model, seed)).to(dtype))
    assert torch.equal(found["x"], naive(model, seed, z, 1.3))
    assert len({bytes(image.numpy()) for image in found["x"]}) > 3


@each_config
def test_decoding_and_reconstructing_draw_given_their_latents(config: dict[str, Any]) -> None:
    model, seed = pixelvae(event_shape=(1, 4, 5), **config), row_seeds(4, 4)
    x, operations = events_of(model, 4).double(), model.operations()
    z = latents_of(model, 4).double()
    decoded = run(operations["decode"], {"seed": seed, "z": z}, PixelSampleParams(0.7))["x"]
    assert torch.equal(decoded, naive(model, seed, z, 0.7))
    statistics = model.statistics(x)
    inputs = {"seed": seed, "x": x}
    z = model.posterior.centre(statistics)
    found = run(operations["reconstruct"], inputs, PixelReconstructParams(0.7))["x"]
    assert torch.equal(found, naive(model, seed, z, 0.7))
    z, _ = model.posterior.draw(statistics, noise(model, seed).double())
    found = run(operations["reconstruct"], inputs, PixelReconstructParams(1.2, "noise"))["x"]
    assert torch.equal(found, naive(model, seed, z, 1.2))


@each_config
def test_the_cached_network_gives_the_numbers_of_the_whole_one(config: dict[str, Any]) -> None:
    """Of rows that are each at another pixel: row i of the table is i image rows behind."""
    model = pixelvae(event_shape=(1, 6, 5), **config)
    x = 2 * events_of(model, 3).double() - 1
    label, features = torch.full((3,), -1), model.features(latents_of(model, 3).double())
    expected = model.net(x, label, features)[:, 0]
    for apart in range(3):
        above, left = model.net.empty(3)
        for start in range(6):
            row = (start - apart * torch.arange(3)).clamp(min=0)
            drawn = torch.where(torch.arange(6)[:, None] < row.view(3, 1, 1, 1), x, 0.7)
            begun = model.net.begin_row(above, drawn, row, label, features)
            above = torch.where((row > 0)[:, None, None, None], begun, model.net.empty(3)[0])
            if start == 0 or bool((row == 0).any()):
                first = model.net.begin_row(model.net.empty(3)[0], drawn, row, label, features)
                above = torch.where((row == 0)[:, None, None, None], first, above)
            left = torch.zeros_like(left)
            for column in range(5):
                at = torch.full((3,), column)
                h, left = model.net.pixel(above, left, drawn, row, at, label, features)
                params = model.net.head(h, torch.zeros(3, 1))[:, 0]
                truth = expected[torch.arange(3), row, column]
                torch.testing.assert_close(params, truth, atol=1e-10, rtol=0)
                drawn[torch.arange(3), 0, row, column] = x[torch.arange(3), 0, row, column]


@pytest.mark.parametrize("name", ["sample", "reconstruct"])
@pytest.mark.parametrize("ahead", [1, 5, 7])
def test_rows_at_different_pixels_share_a_step(name: str, ahead: int) -> None:
    model = pixelvae(event_shape=(1, 4, 5))
    operation, params = model.operations()[name], model.operations()[name].examples[1]
    inputs: Rows = {"seed": row_seeds(0, 4), "x": events_of(model, 4).double()}
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
    model = pixelvae(event_shape=(1, 3, 4))
    operation = model.operations()["reconstruct"]
    inputs: Rows = {"seed": row_seeds(0, 3), "x": events_of(model, 3).double()}
    rows = operation.init(inputs, PixelReconstructParams())
    for _ in range(12):
        before = {name: column.clone() for name, column in rows.items()}
        after = operation.step(rows)
        assert all(torch.equal(rows[name], column) for name, column in before.items())
        rows = after


def frequencies(drawn: Tensor) -> Tensor:
    """How often each of the images of four binary pixels was drawn. -> (16,)"""
    code = (drawn.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1).long()
    return torch.bincount(code, minlength=16)


def chi_square(count: Tensor, probability: Tensor) -> float:
    """Pearson's statistic, exceeding 44.3 once in 10,000 times with 15 degrees of freedom."""
    expected = count.sum() * probability
    return float(((count - expected).square() / expected).sum())


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_images_given_latents_are_as_frequent_as_they_are_probable(temperature: float) -> None:
    model, images, num = pixelvae(event_shape=(1, 2, 2)), every_image((2, 2), 2), 4000
    z = latents_of(model, 1).double()
    params = model.net(2 * images - 1, torch.full((16,), -1), model.features(z.expand(16, -1)))
    log_probs = (model.output.log_probs(params).flatten(1, 3) / temperature).log_softmax(-1)
    levels = model.grid.levels(images).flatten(1)
    probability = log_probs.gather(2, levels[:, :, None]).sum((1, 2)).exp()
    inputs = {"seed": row_seeds(1, num), "z": z.expand(num, -1)}
    drawn = run(model.operations()["decode"], inputs, PixelSampleParams(temperature))["x"]
    assert chi_square(frequencies(drawn), probability) < 44.3
    wrong = model.log_prob_given(images, -z.expand(16, -1)).exp()
    assert chi_square(frequencies(drawn), wrong) > 100


@pytest.mark.parametrize("latent_temperature", [1.0, 0.5])
def test_samples_are_as_frequent_as_they_are_probable(latent_temperature: float) -> None:
    """Pixels whose noise were that of the latents would be the likelier for it."""
    model, images, num = pixelvae(event_shape=(1, 2, 2)), every_image((2, 2), 2), 4000
    ticks = torch.linspace(-6, 6, 61, dtype=torch.float64)
    z = torch.cartesian_prod(ticks, ticks)
    weight = (-z.square().sum(1) / 2).softmax(0)
    given = model.log_prob_given(images, (latent_temperature * z).repeat(16, 1)).view(16, -1)
    params = PixelLatentSampleParams(latent_temperature=latent_temperature)
    drawn = run(model.operations()["sample"], {"seed": row_seeds(2, num)}, params)["x"]
    assert chi_square(frequencies(drawn), given.exp() @ weight) < 44.3
    other = model.log_prob_given(images, z.new_zeros(16, 2)).exp()
    assert chi_square(frequencies(drawn), other) > 100


def test_the_default_temperatures_are_those_of_the_config() -> None:
    operations = pixelvae(temperature=0.9, pixel_temperature=0.8).operations()
    assert operations["sample"].default_params == PixelLatentSampleParams(0.8, 0.9)
    assert operations["decode"].default_params == PixelSampleParams(0.8)
    assert operations["reconstruct"].default_params == PixelReconstructParams(0.8)


def test_the_mean_latent_is_what_encode_gives() -> None:
    model, seed = pixelvae(), row_seeds(0, 3)
    operations, x = model.operations(), events_of(model, 3).double()
    z = run(operations["encode"], {"seed": seed, "x": x}, operations["encode"].default_params)["z"]
    again = run(operations["decode"], {"seed": seed, "z": z}, PixelSampleParams())["x"]
    found = run(operations["reconstruct"], {"seed": seed, "x": x}, PixelReconstructParams())["x"]
    assert torch.equal(found, again)
