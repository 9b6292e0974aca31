"""Exported graphs keep every number: small constants, rounded weights, gradients of any stride."""

import math
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import half_rounded
from models.core.bundle.onnx import OnnxFunction
from models.core.contract.graph import Graph
from models.core.nn.conv import class_mask
from tests.support.models.tiny import events, random_energy_model
from training.export import export


def plain(function: Any, *example: Tensor) -> Graph:
    """A graph of one output from a function that returns a tensor."""
    names = tuple("abc"[: len(example)])
    return Graph(lambda *tensors: (function(*tensors),), names, ("out",), example)


@pytest.mark.parametrize("constant", [1e-8, 1e-12])
def test_a_small_constant_stays(constant: float) -> None:
    # The exporter's optimiser takes x + 1e-8 for x, and its logarithm is then -inf.
    function = OnnxFunction(export(plain(lambda x: (x + constant).log(), torch.ones(2, 3))))
    (found,) = function(torch.zeros(1, 3))
    assert found[0].tolist() == pytest.approx([math.log(constant)] * 3, rel=1e-5)


def test_a_factor_next_to_one_stays() -> None:
    function = OnnxFunction(export(plain(lambda x: x * (1 + 1e-6) - x, torch.ones(2, 1))))
    assert function(torch.ones(1, 1))[0].item() > 5e-7


SHAPES: list[dict[str, Any]] = [
    {"num_classes": 2},  # as many classes as the example had rows: the batch was fixed at two
    {"event_shape": (3, 9, 7), "strides": (3, 1), "num_classes": 5},
    {"event_shape": (1, 2, 11), "strides": (1, 2), "channels": (3, 2), "hidden": 3},
]


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_gradients_of_every_shape_and_stride_at_every_batch_size(config: dict[str, Any]) -> None:
    model = random_energy_model("jem", **config)
    graph = model.graphs()["energy_grad"]
    function = OnnxFunction(export(graph, half=False), num_threads=1)
    for num in (1, 2, 3, 5, 8):
        x = events(num, model.event_shape, seed=num)
        mask = class_mask(torch.arange(num) % (model.num_classes + 1) - 1, model.num_classes)
        for found, expected in zip(function(x, mask), graph.function(x, mask), strict=True):
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, atol=3e-6, rtol=3e-5)


def test_half_precision_loses_nothing_of_rounded_weights() -> None:
    model = random_energy_model("jem")
    half_rounded(model)
    graph = model.graphs()["energy_grad"]
    full, half = export(graph, half=False), export(graph)
    assert len(half) < len(full) - 1000
    tensors = (events(5, model.event_shape), torch.zeros(5, 3))
    for a, b in zip(OnnxFunction(full, 1)(*tensors), OnnxFunction(half, 1)(*tensors), strict=True):
        assert torch.equal(a, b)


def test_half_precision_rounds_what_was_not() -> None:
    weight = torch.linspace(0, 1, 300).view(3, 100) / 3
    graph = plain(lambda x: x @ weight, torch.ones(2, 3))
    x = events(4, (3,))
    full, half = (OnnxFunction(export(graph, half=h), 1)(x)[0] for h in (False, True))
    torch.testing.assert_close(full, x @ weight)
    torch.testing.assert_close(half, x @ weight.half().float())
    assert not torch.equal(half, full)


def test_only_large_float_constants_are_halved() -> None:
    table, step = torch.linspace(0, 1, 300) / 3, torch.linspace(0, 1, 30) / 3
    graph = plain(lambda x: x[:, :1] * table.sum() + (table * step[7]).sum(), torch.ones(2, 1))
    model = onnx.load_from_string(export(graph))
    kinds = {tuple(t.dims): t.data_type for t in model.graph.initializer}
    assert kinds[300,] == onnx.TensorProto.FLOAT16
    assert kinds.get((30,), onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT


def test_names_and_a_free_batch_are_in_the_file() -> None:
    graph = random_energy_model("ebm").graphs()["energy_grad"]
    exported = onnx.load_from_string(export(graph)).graph
    assert [node.name for node in exported.input] == list(graph.inputs)
    assert [node.name for node in exported.output] == list(graph.outputs)
    for node in (*exported.input, *exported.output):
        assert node.type.tensor_type.shape.dim[0].dim_param, "a number would fix the batch"


def test_weights_are_inside() -> None:
    """The file alone is enough: later changes of the model do not reach it."""
    model = random_energy_model("ebm")
    function = OnnxFunction(export(model.graphs()["logits"], half=False), 1)
    x = events(2, model.event_shape)
    before = function(x)[0]
    for parameter in model.parameters():
        parameter.zero_()
    assert torch.equal(function(x)[0], before)
    assert bool(before.any())


def test_a_graph_of_one_size_of_batch_is_refused() -> None:
    """`len` of a traced tensor is a number, and the graph would take no other."""
    x = torch.zeros(2, 3)
    fixed = Graph(lambda x: (x + torch.zeros(len(x), 1),), ("x",), ("y",), (x,))
    with pytest.raises(ValueError, match=r"x is fixed at 2 rows.*x\.shape\[0\]"):
        export(fixed)
    free = Graph(lambda x: (x + torch.zeros(x.shape[0], 1),), ("x",), ("y",), (x,))
    assert OnnxFunction(export(free), 1)(torch.ones(5, 3))[0].shape == (5, 3)


def test_no_path_of_the_exporting_machine_is_in_the_file() -> None:
    data = export(random_energy_model("jem").graphs()["energy_grad"])
    for place in (__file__, torch.__file__, "site-packages", "tests/"):
        assert place.encode() not in data
