"""Exported graphs: the numbers of torch, also in the tails, and the same for every company."""

from functools import cache

import pytest
import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction, seconds_per_call
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.energy.langevin import Langevin
from models.core.energy.model import EnergyModel
from models.core.nn.conv import class_mask
from tests.support.models.tiny import events, random_energy_model
from training.export import export

NAMES = ("logits", "energy_grad", "features")
every_graph = pytest.mark.parametrize("name", NAMES)
every_family = pytest.mark.parametrize("family", ["ebm", "jem"])


@cache
def model_of(family: str) -> EnergyModel:
    """A tiny model with an uneven shape, so that a lost row or column shows."""
    return random_energy_model(family, event_shape=(2, 9, 7), strides=(2, 3), scale=2.5)


@cache
def exported(family: str, name: str) -> bytes:
    """One graph of it as ONNX."""
    return export(model_of(family).graphs()[name], half=False)


def arguments(model: EnergyModel, name: str, x: Tensor) -> tuple[Tensor, ...]:
    """What a graph takes: images, and for the gradient which class each row allows."""
    label = torch.arange(len(x)) % (model.num_classes + 1) - 1
    return (x, class_mask(label, model.num_outputs)) if name == "energy_grad" else (x,)


def assert_as_torch(family: str, name: str, x: Tensor) -> None:
    """ONNX Runtime gives the numbers that torch gives."""
    model = model_of(family)
    tensors = arguments(model, name, x)
    with torch.no_grad():
        expected = model.graphs()[name].function(*tensors)
    found = OnnxFunction(exported(family, name), num_threads=1)(*tensors)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert bool(one.isfinite().all())
        scale = max(1.0, float(other.abs().max()))
        assert float((one - other).abs().max()) < 3e-6 * scale


@every_graph
@every_family
@pytest.mark.parametrize("num", [1, 2, 7, 33])
def test_graphs_are_those_of_torch_at_every_batch_size(family: str, name: str, num: int) -> None:
    assert_as_torch(family, name, events(num, (2, 9, 7)))


@every_graph
@every_family
def test_graphs_are_those_of_torch_in_the_tails(family: str, name: str) -> None:
    # Random inputs miss what saturates: an exporter's Sigmoid is exactly 0 below about -18.
    flat = torch.tensor([-60.0, -18.5, -1.0, 0.0, 0.5, 1.0, 2.0, 60.0])
    rows = flat.view(-1, 1, 1, 1).expand(-1, 2, 9, 7)
    saturated = (events(4, (2, 9, 7)) > 0.5).float()
    wild = (events(4, (2, 9, 7), 1) - 0.5) * 120
    tiny = torch.full((1, 2, 9, 7), 1e-9)
    assert_as_torch(family, name, torch.cat([rows, saturated, wild, tiny]))


@every_graph
@every_family
def test_a_row_is_bitwise_the_same_in_any_batch_and_on_any_threads(family: str, name: str) -> None:
    x = events(33, (2, 9, 7))
    tensors = arguments(model_of(family), name, x)
    runs = [
        [out[0] for out in OnnxFunction(exported(family, name), threads)(*(t[:n] for t in tensors))]
        for threads in (1, 2)
        for n in (1, 2, 7, 33)
    ]
    for found in runs:
        for one, other in zip(found, runs[0], strict=True):
            assert torch.equal(one, other)


def test_inputs_go_by_position_and_none_may_lack() -> None:
    function = OnnxFunction(exported("jem", "energy_grad"), num_threads=1)
    x, mask = arguments(model_of("jem"), "energy_grad", events(3, (2, 9, 7)))
    with pytest.raises(ValueError, match="zip"):
        function(x)
    # Views, slices and expansions are no trouble.
    wide = torch.cat([x, x], 3)[..., :7]
    assert torch.equal(function(wide, mask[:1].expand(3, -1))[0], function(x, mask[[0, 0, 0]])[0])


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x08\x07" * 50, bytes(1000)])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a loadable ONNX model"):
        OnnxFunction(data)


def test_half_a_model_is_refused() -> None:
    with pytest.raises(ValueError, match="not a loadable ONNX model"):
        OnnxFunction(exported("jem", "logits")[:-200])


@every_family
def test_the_sampler_runs_on_the_graph_as_on_torch(family: str) -> None:
    model = random_energy_model(family, event_shape=(2, 9, 7), strides=(2, 3), scale=2.5)
    sampler = Langevin(model)
    inputs = {"seed": row_seeds(0, 6)}
    if model.num_classes:
        inputs["label"] = torch.tensor([-1, 0, 1, 2, 0, -1])
    params = sampler.params(num_steps=6, start="noise")
    expected = run(sampler, inputs, params)["x"]
    calls: list[int] = []
    function = OnnxFunction(exported(family, "energy_grad"), num_threads=1)

    def counted(*tensors: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(tensors))
        return function(*tensors)

    model.use("energy_grad", counted)
    torch.testing.assert_close(run(sampler, inputs, params)["x"], expected, atol=1e-5, rtol=0)
    assert calls == [2] * 6


def test_the_clock_calls_as_often_as_asked() -> None:
    calls: list[int] = []

    def function(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(x))
        return (x,)

    assert seconds_per_call(function, (torch.zeros(3),), repeats=4) >= 0
    assert calls == [3] * 5
