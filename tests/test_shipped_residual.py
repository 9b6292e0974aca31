"""The shipped residual flow: it contracts as stored, comes back, and its estimates are honest."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import load
from models.core.contract.operation import run
from models.core.nn.lipschitz import Spectral
from models.residual_flow import Model
from tests.support.models.invertible import draws
from training.data.splits import as_events, load_test

BUNDLE = Path(__file__).parents[1] / "bundles" / "residual_flow_digits"


@cache
def shipped() -> tuple[Model, Tensor]:
    """The model as the service builds it, and the test events. -> (269, 1, 8, 8)."""
    model = load(BUNDLE).build()
    assert isinstance(model, Model)
    return model, as_events(load_test("digits", height=8, width=8, levels=17).x)


def test_every_block_contracts_at_the_weights_as_they_are_stored() -> None:
    model, stored = shipped()[0], load(BUNDLE).weights
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, stored[name].to(weight.dtype)), name
    bounds = [float(block.net.bound()) for block in model.blocks]
    assert 0.5 < max(bounds) <= model.config.lipschitz
    assert all(
        float(layer.bound()) <= layer.cap
        for layer in model.modules()
        if isinstance(layer, Spectral)
    )


def served(name: str, columns: dict[str, Tensor], **params: Any) -> dict[str, Tensor]:
    """A whole program, as a request runs it."""
    operation = shipped()[0].operations()[name]
    given = {"seed": torch.zeros(len(next(iter(columns.values()))), dtype=torch.int64), **columns}
    with torch.no_grad():
        return run(operation, given, operation.Params(**params))


def test_events_and_values_come_back() -> None:
    model, x = shipped()
    z = served("encode", {"x": x})["z"]
    assert model.grid is not None
    assert torch.equal(served("decode", {"z": z})["x"], model.grid.values(model.grid.levels(x)))
    with torch.no_grad():
        y, _ = model.dequantise(x, torch.zeros_like(x))
        assert float((model.decode(z) - y).abs().max()) <= 1e-5


def test_in_float32_the_log_likelihood_is_that_of_float64() -> None:
    model, x = shipped()
    eps = draws(50, model.event_shape).clamp(-3, 3)
    wide = load(BUNDLE).build().double()
    assert isinstance(wide, Model)
    with torch.no_grad():
        found = model.log_prob(x[:50], eps.float())
        expected = wide.log_prob(x[:50].double(), eps)
    torch.testing.assert_close(found.double(), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("num_terms", [10, 20])
def test_an_estimate_lies_where_its_standard_error_says(num_terms: int) -> None:
    _, x = shipped()
    exact = served("log_likelihood", {"x": x})["log_prob"].double()
    found = served("log_likelihood", {"x": x}, log_det="truncated", num_terms=num_terms)
    error = found["log_prob"].double() - exact
    assert abs(float(error.mean())) < 4 * float(error.std()) / len(x) ** 0.5
    ratio = error / found["standard_error"].double()
    assert 0.8 < float(ratio.square().mean().sqrt()) < 1.25
