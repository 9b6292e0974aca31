"""The code by which images are called simple: it can be read back, and is as short as it should."""

import zlib
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from models.core.contract.columns import columns
from models.core.contract.grid import Grid
from models.core.contract.noise import row_seeds
from models.core.contract.one_shot import OneShot
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.derived.input_complexity import InputComplexity
from models.core.derived.png_length import FILTERS, code_bits, codes, filtered, half_size
from models.core.flow.programs import FlowLogLikelihoodParams
from models.core.ood.of_likelihood import LIKELIHOOD_SCORES
from tests.support.models.tiny import events_of, random_model


def noise(*shape: int, top: int = 256, seed: int = 0) -> np.ndarray:
    """Every level as likely."""
    return np.random.default_rng(seed).integers(top, size=shape).astype(np.uint8)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    """A slope of other steepness in every direction and colour. -> (1, C, H, W)."""
    row, column, colour = np.ogrid[:height, :width, :channels]
    image = 3 * row + 5 * column * (1 + colour) + 40 * colour
    return (image % 256).astype(np.uint8).transpose(2, 0, 1)[None]


def decoded(code: bytes, channels: int, height: int, width: int) -> np.ndarray:
    """The image of a code, a byte after the other as PNG readers do it. -> (C, H, W)."""
    name, rows = FILTERS[code[0]], zlib.decompress(code[1:], -15)
    stride = width * channels
    assert len(rows) == height * stride
    x = np.zeros((height + 1, stride + channels), dtype=int)
    for i, left_over in enumerate(rows):
        r, c = i // stride + 1, i % stride + channels
        left, above, corner = x[r, c - channels], x[r - 1, c], x[r - 1, c - channels]
        guesses = {"none": 0, "sub": left, "up": above, "average": (left + above) // 2}
        if name == "paeth":
            guess = left + above - corner
            guesses[name] = min((left, above, corner), key=lambda v: abs(guess - v))
        x[r, c] = (left_over + guesses[name]) % 256
    image = x[1:, channels:].astype(np.uint8)
    return image.reshape(height, width, channels).transpose(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_filter_can_be_undone(channels: int) -> None:
    image = np.concatenate([noise(1, channels, 5, 7), smooth(5, 7, channels)])
    for index, left_over in enumerate(filtered(image)):
        for row, expected in zip(left_over, image, strict=True):
            deflate = zlib.compressobj(wbits=-15)
            code = bytes([index]) + deflate.compress(row.tobytes()) + deflate.flush()
            assert np.array_equal(decoded(code, channels, 5, 7), expected)


def test_codes_give_the_images_back() -> None:
    images = np.concatenate([noise(2, 3, 6, 9), smooth(6, 9, 3), np.full((1, 3, 6, 9), 7, "u1")])
    for code, image in zip(codes(images), images, strict=True):
        assert np.array_equal(decoded(code, 3, 6, 9), image)


def test_the_shortest_of_all_filters_is_used() -> None:
    bumpy = smooth(28, 28, 1) + noise(1, 1, 28, 28, top=3)
    coarse = noise(1, 1, 28, 28, top=2) * 255
    for image in (bumpy, coarse, smooth(28, 28, 3)):
        ways = [zlib.compress(rows.tobytes(), 9, wbits=-15) for rows in filtered(image)]
        assert len(codes(image)[0]) == 1 + min(map(len, ways))
    assert codes(coarse)[0][0] == FILTERS.index("none")
    assert codes(bumpy)[0][0] != FILTERS.index("none")
    assert float(code_bits(torch.from_numpy(bumpy))) < 4 * 784


def test_noise_takes_its_eight_bits_and_constants_next_to_none() -> None:
    flat = torch.full((1, 1, 28, 28), 255)
    pixels = torch.cat([torch.from_numpy(noise(1, 1, 28, 28)).long(), flat])
    random, constant = code_bits(pixels).tolist()
    # Deflate stores what it cannot compress: five bytes more, and one that names the filter.
    assert 8 * 784 < random <= 8 * (784 + 6)
    assert constant < 200


def test_fewer_levels_take_fewer_bits() -> None:
    few = code_bits(torch.from_numpy(noise(1, 1, 28, 28, top=4)))
    assert 2 * 784 < float(few) < 3 * 784


def test_an_image_has_its_length_in_any_company() -> None:
    images = torch.from_numpy(np.concatenate([noise(3, 3, 8, 8), smooth(8, 8, 3)]))
    alone = torch.cat([code_bits(image) for image in images.split(1)])
    assert torch.equal(code_bits(images), alone)
    assert torch.equal(code_bits(images.flip(0)), alone.flip(0))


def test_the_likelihood_beside_it_is_the_served_one() -> None:
    model = random_model("pixelcnn")
    x = events_of(model, 4)
    inputs = {"seed": row_seeds(0, 4), "x": x, "label": torch.tensor([-1, 0, 2, -1])}
    operations = model.operations()
    found = run(operations["input_complexity"], inputs, operations["log_likelihood"].default_params)
    expected = run(operations["log_likelihood"], inputs, operations["log_likelihood"].examples[0])
    assert torch.equal(found["log_prob"], expected["log_prob"])
    assert model.grid is not None
    levels = model.grid.levels(x)
    assert torch.equal(found["code_bits"], code_bits(levels))
    assert torch.equal(found["half_code_bits"], code_bits(half_size(levels)))


def test_a_program_of_several_steps_finds_the_code_in_the_first() -> None:
    model = random_model("realnvp")
    x, params = events_of(model, 3), FlowLogLikelihoodParams(num_samples=3)
    inputs = {"seed": torch.zeros(3, dtype=torch.int64), "x": x}
    operation = model.operations()["input_complexity"]
    found = run(operation, inputs, params)
    expected = run(model.operations()["log_likelihood"], inputs, params)
    assert torch.equal(found["log_prob"], expected["log_prob"])
    assert torch.equal(found["standard_error"], expected["standard_error"])
    rows = operation.init(inputs, params)
    assert rows["code_bits"].tolist() == [-1, -1, -1]
    rows = operation.step(rows)
    for name in ("code_bits", "half_code_bits"):
        assert torch.equal(rows[name], found[name])
    known = torch.tensor([5.0, -1.0, 6.0])
    kept = operation.step({**rows, "code_bits": known, "half_code_bits": known})
    for name in ("code_bits", "half_code_bits"):
        assert kept[name].tolist() == [5, float(found[name][1]), 6]


def test_half_the_size_is_the_mean_of_squares() -> None:
    levels = torch.tensor([[[[0, 10, 9], [20, 30, 9], [255, 255, 7]]]])
    assert half_size(levels).tolist() == [[[[15]]]]
    colours = torch.from_numpy(noise(2, 3, 8, 6)).long()
    squares = colours.view(2, 3, 4, 2, 3, 2).double().mean((3, 5))
    assert float((half_size(colours) - squares).abs().max()) <= 0.5
    with pytest.raises(ValueError, match="have no half"):
        half_size(levels[:, :, :1])


def test_enlarged_and_blurred_images_shrink_less_at_half_the_size() -> None:
    """The order that the score promises: noise, its blur, its enlargement, a constant."""
    small = noise(1, 1, 14, 14)
    sharp = torch.from_numpy(noise(1, 1, 28, 28))
    blurred = torch.from_numpy(gaussian_filter(noise(1, 1, 28, 28), (0, 0, 2, 2)))
    enlarged = torch.from_numpy(small.repeat(2, 2).repeat(2, 3))
    x = torch.cat([sharp, blurred, enlarged, torch.full((1, 1, 28, 28), 9)])
    rows = {"code_bits": code_bits(x), "half_code_bits": code_bits(half_size(x))}
    ratio = LIKELIHOOD_SCORES["scale_ratio"].compute(rows, 0.0)
    assert ratio.tolist() == sorted(ratio.tolist())
    assert float(ratio[0]) == pytest.approx(0.25, abs=0.02)
    assert float(ratio[2]) > 0.4


def test_only_images_of_levels_have_a_code() -> None:
    counts = {"event_shape": (5,), "num_levels": 4, "output": "categorical"}
    row = {"event_shape": (1, 1, 6)}
    configs: dict[str, dict[str, Any]] = {"made": counts, "pixelcnn": row}
    has = {
        name: "input_complexity" in random_model(name, **configs.get(name, {})).operations()
        for name in ("realnvp", "vae", "idf", "sylvester", "made", "pixelcnn")
    }
    assert has == {
        "realnvp": True,
        "vae": True,
        "idf": True,
        "sylvester": False,
        "made": False,
        "pixelcnn": False,
    }


def test_more_levels_than_a_byte_holds_are_refused() -> None:
    def log_prob(rows: Rows) -> Rows:
        return {"log_prob": torch.zeros(len(rows["x"]))}

    operation = OneShot(random_model("pixelcnn"), log_prob, outputs=columns(log_prob=()))
    with pytest.raises(ValueError, match="257 levels: accepted are up to 256"):
        InputComplexity(operation, Grid(257))
    found = run(
        InputComplexity(operation, Grid(256)),
        {"x": torch.ones(2, 1, 3, 3)},
        operation.default_params,
    )
    assert torch.equal(found["code_bits"], code_bits(torch.full((2, 1, 3, 3), 255)))
