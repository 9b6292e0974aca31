"""Exported flows: the numbers of torch, at the ends of the grey scale and far out, in any batch."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction
from models.core.contract.families import family
from models.core.flow.model import FlowModel
from tests.support.models.invertible import seeded, wild
from training.export import export

_IMAGE = {"event_shape": (1, 2, 2), "num_levels": 256}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "realnvp": ("realnvp", {**_IMAGE, "num_couplings": 1, "coordinates": True}),
    "realnvp-vector": ("realnvp", {"event_shape": (4,), "num_levels": 0, "num_couplings": 1}),
    "glow": (
        "glow",
        {**_IMAGE, "num_scales": 1, "flow_steps": 1, "dequantisation": "variational"},
    ),
    "linear_flow": (
        "linear_flow",
        {**_IMAGE, "num_blocks": 1, "num_components": 2, "linear": "qr"},
    ),
}


def made(name: str) -> FlowModel:
    """As small as it gets, with random weights."""
    of, config = MODELS[name]
    module = family(of)
    with seeded():
        model = module.Model(module.Config(**config))
    wild(model, 0.1).float()
    assert isinstance(model, FlowModel)
    return model.eval()


def arguments(graph: str, shape: tuple[int, ...], num: int) -> tuple[Tensor, ...]:
    """With black, white and far noise among them."""
    generator = torch.Generator().manual_seed(num)
    if graph == "decode":
        return (4 * torch.randn(num, 4, generator=generator),)
    x = torch.randint(256, (num, *shape), generator=generator) / 255
    eps = torch.randn(num, *shape, generator=generator)
    x[0], eps[0], x[-1], eps[-1] = 0, -6, 1, 6
    return x, eps


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("graph", ["log_prob", "decode"])
def test_graphs_are_those_of_torch(name: str, graph: str) -> None:
    model = made(name)
    exported = OnnxFunction(export(model.graphs()[graph], half=False), num_threads=1)
    for num in (1, 3, 8):
        tensors = arguments(graph, model.event_shape, num)
        with torch.no_grad():
            (expected,) = model.compute(graph, *tensors)
        (found,) = exported(*tensors)
        assert bool(found.isfinite().all())
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
