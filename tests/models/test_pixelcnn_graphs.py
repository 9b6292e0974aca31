"""PixelCNN's exported graphs: the numbers of torch, also in the tails, and the same samples."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.pixelcnn.sampler import PixelSampleParams
from models.pixelcnn import Model
from tests.support.models.pixels import PLAIN, pixelcnn
from tests.support.models.tiny import events_of
from training.export import export

pytestmark = pytest.mark.slow

CONFIGS: dict[str, dict[str, Any]] = {
    "labels": {"event_shape": (1, 4, 5), "num_levels": 4},
    "binary": {"event_shape": (1, 4, 5), "num_levels": 2, "output": "bernoulli", **PLAIN},
    "colour": {"event_shape": (3, 2, 3), "num_levels": 256, "output": "logistic_mixture"},
    "mixture": {"event_shape": (1, 3, 4), "num_levels": 256, "output": "logistic_mixture", **PLAIN},
}


@cache
def exported(name: str, graph: str) -> tuple[Model, OnnxFunction]:
    """A tiny model, and one of its graphs as ONNX Runtime runs it."""
    model = pixelcnn(**CONFIGS[name], num_layers=1, dilations=(2,), channels=4).float()
    for weight in (model.net.out.weight, model.net.out.bias):
        weight.mul_(8)  # tails are where graphs go wrong: numbers to 60 and more
    return model, OnnxFunction(export(model.graphs()[graph], half=False), num_threads=1)


def images(model: Model, num: int) -> Tensor:
    """Random ones, with a black and a white one and a chequered one among them."""
    x = events_of(model, num)
    x[-1], x[0] = 1, 0
    x[num // 2] = (torch.arange(x.shape[2])[:, None] + torch.arange(x.shape[3])) % 2
    return x


@pytest.mark.parametrize("name", CONFIGS)
def test_log_prob_is_that_of_torch_also_in_the_tails(name: str) -> None:
    model, function = exported(name, "log_prob")
    for num in (1, 3, 33):
        x = images(model, num)
        label = (torch.arange(num) % 4 - 1,) if model.num_classes else ()
        (expected,) = model.compute("log_prob", x, *label)
        (found,) = function(x, *label)
        assert found.shape == (num,)
        assert bool(found.isfinite().all())
        torch.testing.assert_close(found, expected, atol=3e-3, rtol=1e-5)
        exact = model.double().log_prob(x.double(), *label)
        model.float()
        torch.testing.assert_close(found.double(), exact, atol=3e-3, rtol=1e-5)
    assert float(expected.min()) < -150


@pytest.mark.parametrize("name", ["labels", "colour"])
def test_the_sampler_draws_the_same_with_its_graphs_exported(name: str) -> None:
    model, _ = exported(name, "row")
    inputs = {"seed": row_seeds(0, 6), "label": torch.arange(6) % 4 - 1}
    operation, params = model.operations()["sample"], PixelSampleParams(20.0)
    expected = run(operation, inputs, params)["x"]
    for graph in operation.graphs:
        model.use(graph, exported(name, graph)[1])
    try:
        found = run(operation, inputs, params)["x"]
    finally:
        for graph in operation.graphs:
            model.use(graph, None)
    assert torch.equal(found, expected)
    assert len(found.flatten(1).unique(dim=0)) == 6
