"""Fixed-point layers: the bits that integers would give, in any batch, order, number of threads."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.core.coding.exact_twin import ExactConv2d, ExactLinear, exact
from models.core.coding.fixed_point import (
    FRACTION_BITS,
    ONE,
    REACH,
    SPAN,
    backend_id,
    exp,
    sigmoid,
    silu,
    tanh,
    to_fixed_point,
)
from models.core.pixelcnn.net import Gate

UNITS = 2.0**FRACTION_BITS


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_arithmetic_is_the_one_that_old_codes_were_made_with() -> None:
    """Another checksum needs another version, and breaks every code that somebody keeps."""
    assert backend_id() == "fx1-16cb2480"


def test_the_tables_are_the_functions() -> None:
    t = torch.linspace(-SPAN + 1, SPAN - 1, 30_011, dtype=torch.float64)
    assert (
        float((exp(to_fixed_point(-t.abs())) / ONE - to_fixed_point(-t.abs()).exp()).abs().max())
        < 1e-8
    )
    assert (
        float((sigmoid(to_fixed_point(t)) / ONE - to_fixed_point(t).sigmoid()).abs().max()) < 1e-8
    )
    assert float((tanh(to_fixed_point(t)) - to_fixed_point(t).tanh()).abs().max()) <= 0.51 / UNITS
    x = to_fixed_point(t)
    assert float((silu(x) - x * x.sigmoid()).abs().max()) <= 0.51 / UNITS


def test_the_tables_end_where_the_functions_are_flat() -> None:
    far = torch.tensor([SPAN, 1e9, math.inf], dtype=torch.float64)
    assert torch.equal(exp(-far), torch.zeros(3).double())
    assert torch.equal(sigmoid(far), torch.full((3,), ONE).double())
    assert torch.equal(sigmoid(-far), torch.zeros(3).double())
    assert torch.equal(tanh(-far), -torch.ones(3).double())


def test_probabilities_of_opposites_sum_to_one() -> None:
    t = _numbers(1000, scale=5)
    assert torch.equal(sigmoid(t) + sigmoid(-t), torch.full((1000,), ONE).double())


@pytest.mark.parametrize("scale", [0.05, 30.0])
def test_a_linear_layer_is_the_sum_of_integers(scale: float) -> None:
    """With large weights, which are rounded more coarsely, too."""
    layer = ExactLinear(_numbers(7, 300, scale=scale), _numbers(7, seed=1))
    x = to_fixed_point(_numbers(50, 300, seed=2, scale=100.0))
    bits = 40
    inputs = (x.clamp(-REACH, REACH) * UNITS).long().tolist()
    weights = (layer.weight * 2.0**bits).long()
    assert torch.equal(weights.double() / 2.0**bits, layer.weight)
    biases = (layer.bias * 2.0**bits).long().tolist()
    found = (layer(x) * UNITS).long()
    for i, row in enumerate(inputs):
        for o, column in enumerate(weights.tolist()):
            total = sum(a * b for a, b in zip(row, column, strict=True)) + (
                biases[o] << FRACTION_BITS
            )
            # Half to even, as the processor rounds.
            below, rest = divmod(total, 1 << bits)
            half = 1 << bits - 1
            assert int(found[i, o]) == below + (rest > half or (rest == half and below % 2 == 1))


def test_weights_lose_little() -> None:
    weight, x = _numbers(7, 300, scale=0.1), to_fixed_point(_numbers(50, 300, seed=2))
    expected = nn.functional.linear(x, weight)
    torch.testing.assert_close(ExactLinear(weight)(x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [1e8, math.inf, math.nan])
def test_weights_that_leave_no_bits_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=r"too large|not finite"):
        ExactLinear(torch.full((2, 400), weight))


def test_neither_batch_nor_order_nor_threads_change_a_bit(threads: Callable[[int], None]) -> None:
    weight, bias, x = (
        _numbers(130, 517),
        _numbers(130, seed=1),
        to_fixed_point(_numbers(64, 517, seed=2)),
    )
    order = torch.randperm(517, generator=torch.Generator().manual_seed(3))
    threads(1)
    layer = ExactLinear(weight, bias)
    expected = layer(x)
    assert torch.equal(torch.cat([layer(row[None]) for row in x]), expected)
    assert torch.equal(torch.stack([layer(row) for row in x]), expected)
    assert torch.equal(ExactLinear(weight[:, order], bias)(x[:, order]), expected)
    assert torch.equal(layer.some(x, torch.tensor([5, 100])), expected[:, [5, 100]])
    threads(2)
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer(x.flip(0)).flip(0), expected)


@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"),
    [((2, 3), (0, 0), (1, 1)), (3, 1, 1), ((1, 5), (0, 4), (2, 2))],
)
def test_a_convolution_is_one(
    kernel: tuple[int, int], padding: tuple[int, int], dilation: tuple[int, int]
) -> None:
    conv = nn.Conv2d(3, 5, kernel, padding=padding, dilation=dilation).double()
    x = to_fixed_point(_numbers(4, 3, 6, 7))
    found = ExactConv2d(conv)(x)
    torch.testing.assert_close(found, conv(x).detach(), rtol=0, atol=1e-4)
    assert torch.equal(torch.cat([ExactConv2d(conv)(row[None]) for row in x]), found)


@pytest.mark.parametrize("settings", [{"stride": 2}, {"groups": 2}, {"padding": "same"}])
def test_other_convolutions_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="accepted are"):
        ExactConv2d(nn.Conv2d(2, 2, 3, **settings))


def test_a_twin_is_near_its_network_and_leaves_it_alone() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 6, 1), nn.Flatten(), nn.ReLU(),
        nn.Linear(6 * 25, 10), Gate(),
    )  # fmt: skip
    before = copy.deepcopy(net.state_dict())
    x = to_fixed_point(_numbers(9, 2, 5, 5))
    twin = exact(net)
    torch.testing.assert_close(twin(x), net.double()(x).detach(), rtol=0, atol=2e-3)
    assert torch.equal(torch.cat([twin(row[None]) for row in x]), twin(x))
    for size in range(1, len(twin) + 1):
        assert torch.equal(to_fixed_point(twin[:size](x)), twin[:size](x))
    assert all(torch.equal(w.float(), before[name]) for name, w in net.state_dict().items())


def test_what_stands_between_the_layers_is_in_fixed_point_too() -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.tensor([1 / 3]))
            self.layer = nn.Linear(1, 1)

    assert float(exact(Shifted()).place) == round(UNITS / 3) / UNITS
