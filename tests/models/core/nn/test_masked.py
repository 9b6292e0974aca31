"""Masked networks: what each output may see, in every order and wiring, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.nn.masked import MaskedMLP, Wiring, even_degrees, permutation, wiring
from tests.support.models.invertible import draws, wild

D = 6
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"hidden": (40, 20, 30)},
    "residual": {"hidden": (30, 30, 30), "residual": True},
    "direct": {"direct": True},
    "narrow": {"hidden": (3, 4)},
    "features": {"num_features": 4, "num_params": 2, "direct": True},
}
every_config = pytest.mark.parametrize("name", CONFIGS)
every_mask = pytest.mark.parametrize("mask", range(4))


def wirings(hidden: tuple[int, ...], num_masks: int, *, same: bool = False) -> list[Wiring]:
    """The raster order, then random ones."""
    orders = [torch.arange(D), *(permutation(D, 7, index) for index in range(1, num_masks))]
    return [
        wiring(order, hidden, seed=7, index=index, same=same) for index, order in enumerate(orders)
    ]


def network(
    hidden: tuple[int, ...] = (40, 30), num_features: int = 1, num_params: int = 3, **config: Any
) -> MaskedMLP:
    """Four masks, random weights, in float64, with a smooth activation that is nowhere flat."""
    parts = wirings(hidden, 4, same=config.get("residual", False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = MaskedMLP(parts, num_features, num_params, activation="silu", **config)
    wild(net)
    return net.eval()


def reach(net: MaskedMLP, mask: int) -> Tensor:
    """Largest derivative of any number for dimension i in any number of j. -> (D, D)."""
    x = draws(1, (D * net.num_features,))[0]
    jacobian = torch.autograd.functional.jacobian(lambda v: net(v[None], mask)[0], x)
    found: Tensor = jacobian.reshape(D, net.num_params, D, net.num_features).abs()
    return found.amax((1, 3))


def before(net: MaskedMLP, mask: int) -> Tensor:
    """Whether dimension j comes before i. -> bool (D, D), [i, j]."""
    place = torch.empty(D, dtype=torch.int64)
    place[net.order(mask)] = torch.arange(D)
    return place[:, None] > place


@every_mask
@every_config
def test_outputs_see_what_comes_before_and_nothing_else(name: str, mask: int) -> None:
    net = network(**CONFIGS[name])
    seen, allowed = reach(net, mask), before(net, mask)
    assert bool((seen[~allowed] == 0).all())
    if name != "narrow":  # which has too few units for every place in the order
        assert bool((seen[allowed] > 0).all())


@every_mask
@every_config
def test_one_dimension_alone_is_the_same(name: str, mask: int) -> None:
    net = network(**CONFIGS[name])
    x = draws(D, (D * net.num_features,))
    for dims in (torch.arange(D), torch.tensor([2, 2, 0, 5, 1, 2])):
        expected = net(x, mask)[torch.arange(D), dims]
        torch.testing.assert_close(net.at(x, dims, mask), expected, atol=1e-12, rtol=0)


def test_masks_differ_in_order_and_in_wiring() -> None:
    net = network()
    x = draws(3, (D,))
    assert net.order(0).tolist() == list(range(D))
    assert len({tuple(net.order(mask).tolist()) for mask in range(4)}) == 4
    raster = [torch.arange(D)] * 2
    parts = [wiring(order, (40, 30), seed=7, index=i) for i, order in enumerate(raster)]
    same_order = MaskedMLP(parts, 1, 3).double()
    assert torch.equal(same_order.order(0), same_order.order(1))
    assert not torch.allclose(same_order(x, 0), same_order(x, 1))


def test_masks_are_not_stored_and_never_change() -> None:
    assert {name.split(".")[-1] for name in network(direct=True).state_dict()} == {"weight", "bias"}
    # A bundle keeps the seed only: other numbers here would spoil every bundle that there is.
    assert permutation(8, 0, 1).tolist() == [4, 2, 7, 5, 3, 1, 6, 0]
    assert permutation(8, 5, 2, stream=1).tolist() == [0, 5, 7, 3, 2, 1, 4, 6]


def test_masks_take_the_type_of_the_weights() -> None:
    net, x = network(direct=True), draws(3, (D,))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        assert net.to(dtype)(x.to(dtype)).dtype == dtype


@pytest.mark.parametrize(("num_units", "num_dims"), [(5, 6), (23, 6), (500, 64), (3, 6), (4, 1)])
def test_degrees_are_spread_over_all_places(num_units: int, num_dims: int) -> None:
    degrees = even_degrees(num_units, num_dims)
    assert degrees.shape == (num_units,)
    assert int(degrees.min()) == 1
    assert int(degrees.max()) <= max(num_dims - 1, 1)
    counts = degrees.bincount(minlength=num_dims)[1:num_dims]
    if num_units >= num_dims > 1:
        assert int(counts.max()) - int(counts.min()) <= 1


def test_dropout_is_for_training_only() -> None:
    net = network(dropout=0.5)
    x = draws(3, (D,))
    assert torch.equal(net(x), net(x))
    torch.manual_seed(0)
    assert not torch.equal(net.train()(x), net(x))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"hidden": ()}, "hidden"),
        ({"hidden": (4, 0)}, "hidden"),
        ({"hidden": (4, 5), "residual": True}, "one width"),
        ({"activation": "tanh"}, "relu, silu"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(config: dict[str, Any], named: str) -> None:
    hidden = config.pop("hidden", (4,))
    with pytest.raises(ValueError, match=named):
        MaskedMLP([wiring(torch.arange(D), hidden)], 1, 1, **config)
