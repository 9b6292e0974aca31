"""Shipped integer flows give every test image back, at the weights as they are stored."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models import idf
from models.core.bundle.bundle import load
from models.core.contract.operation import run
from tests.support.shipped import shipped_paths
from training.data.splits import load_test

ROOT = Path(__file__).parents[1]
SAMPLES = {"mnist": "mnist_test_500.npz", "fashion-mnist": "fashion-mnist_test_1000.npz"}


@pytest.mark.parametrize("path", shipped_paths("idf_"), ids=lambda p: p.name)
def test_every_test_image_comes_back(path: Path) -> None:
    bundle = load(path)
    model = bundle.build()
    assert isinstance(model, idf.Model)
    x = _test_images(path.name.removeprefix("idf_"), model)
    encode, decode = (model.operations()[name] for name in ("encode", "decode"))
    with torch.no_grad():
        z = run(encode, {"x": x}, None)["z"]
        # Other batches than those that were encoded: rounding must not depend on company.
        parts = [run(decode, {"z": part}, None)["x"] for part in z.split(37)]
    assert torch.equal(torch.cat(parts), x)
    assert torch.equal(z, z.round())
    assert not torch.equal(z.sort(1).values, model.levels(x).flatten(1).sort(1).values)


def _test_images(data: str, model: idf.Model) -> Tensor:
    assert model.grid is not None
    if data in SAMPLES:
        x = np.load(ROOT / "tests" / "data" / SAMPLES[data])["x"][:500]
    else:
        _, height, width = model.event_shape
        x = load_test(data, height=height, width=width, levels=model.grid.num_levels).x
    return model.grid.values(model.grid.levels(torch.from_numpy(x).float() / 255))
