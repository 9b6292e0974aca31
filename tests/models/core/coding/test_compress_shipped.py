"""Shipped models lose no pixel of test images, and their codes are as long as the NLL says."""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.core.bundle.bundle import load
from models.core.coding.codec import SEGMENT
from models.core.contract.model import Servable
from models.core.contract.operation import NoParams, run
from models.core.contract.rows import Rows
from tests.support.models.cases import in_company, rows_at
from tests.support.shipped import shipped_paths
from training.data.splits import load_test
from training.measure.calibrate import columns

ROOT = Path(__file__).parents[4]
SAMPLES = {"mnist": "mnist_test_500.npz", "fashion-mnist": "fashion-mnist_test_1000.npz"}
DIGITS = shipped_paths(suffix="_digits")


@cache
def _shipped(path: Path) -> tuple[Servable, torch.Tensor]:
    """A model, and test images in segments."""
    bundle = load(path)
    form, source = bundle.preprocessing, path.name.partition("_")[2].removesuffix("-binary")
    assert form is not None
    if source in SAMPLES:
        x = form.to_levels(np.load(ROOT / "tests" / "data" / SAMPLES[source])["x"])
    else:
        x = load_test(source, height=form.height, width=form.width, levels=form.levels).x
    model = bundle.build()
    assert model.grid is not None
    # Large images take longest, and longer with many levels.
    large = model.num_dims > 100
    num_segments = 16 if not large else 8 if model.grid.num_levels == 2 else 4
    kept = torch.from_numpy(x[: num_segments * SEGMENT]).float() / 255
    kept = model.grid.values(model.grid.levels(kept))
    return model, kept.view(num_segments, SEGMENT, *model.event_shape)


def _has_codec(path: Path) -> bool:
    return "compress" in load(path).build().operations()


CODED = [path for path in shipped_paths() if _has_codec(path)]
every_bundle = pytest.mark.parametrize("path", CODED, ids=lambda path: path.name)


@cache
def _codes(path: Path) -> Rows:
    """Of all segments; some of them hold fewer images."""
    model, x = _shipped(path)
    counts = torch.full((len(x),), SEGMENT)
    counts[1], counts[2] = 1, 7
    codes = run(model.operations()["compress"], {"x": x, "num_images": counts}, NoParams())
    return {**codes, "num_images": counts}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@every_bundle
def test_codes_are_within_one_percent_of_the_likelihood(path: Path) -> None:
    model, x = _shipped(path)
    full = _codes(path)["num_images"] == SEGMENT
    pixels = (x[full].flatten(0, 1) * 255).round().byte().numpy()
    nats = -float(columns(model, "log_likelihood", pixels)["log_prob"].double().sum())
    size = int(_codes(path)["num_bytes"][full].sum())
    assert 0.995 < size * 8 * math.log(2) / nats < 1.01


@every_bundle
def test_no_pixel_of_test_images_is_lost(path: Path) -> None:
    """Segments of different lengths in one batch."""
    model, x = _shipped(path)
    codes = _codes(path)
    found = run(model.operations()["decompress"], codes, NoParams())["x"]
    for ours, theirs, count in zip(found, x, codes["num_images"].tolist(), strict=True):
        assert torch.equal(ours[:count], theirs[:count])


@every_bundle
def test_neither_company_nor_threads_change_a_code(path: Path) -> None:
    model, x = _shipped(path)
    codes, compress = _codes(path), model.operations()["compress"]
    for i, threads in ((0, 1), (1, 2), (2, 1), (5, 2)):
        torch.set_num_threads(threads)
        alone = run(
            compress, {"x": x[i : i + 1], "num_images": codes["num_images"][i : i + 1]}, NoParams()
        )
        assert torch.equal(alone["code"], codes["code"][i : i + 1])


@pytest.mark.parametrize("path", [path for path in CODED if path in DIGITS], ids=lambda p: p.name)
def test_codes_are_decompressed_among_others_that_are_further(path: Path) -> None:
    model, x = _shipped(path)
    codes = _codes(path)
    torch.set_num_threads(2)
    requests = [(rows_at(codes, slice(i, i + 2)), NoParams()) for i in (0, 2, 4)]
    found = in_company(model.operations()["decompress"], requests)
    for (asked, _), result, first in zip(requests, found, (0, 2, 4), strict=True):
        for i, count in enumerate(asked["num_images"].tolist()):
            assert torch.equal(result["x"][i, :count], x[first + i, :count])
