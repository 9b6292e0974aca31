"""The networks of integer flows: what they know of places, and what half precision may touch."""

import torch

from models.core.integer.net import PlaceNet, Table
from tests.support.models.invertible import draws, wild


def test_a_network_starts_at_zero() -> None:
    net = PlaceNet(2, 3, (4, 5), channels=6, num_blocks=1)
    assert not bool(net(draws(2, (2, 4, 5)).float()).any())


def test_a_network_knows_where_it_is() -> None:
    """Nothing to see: away from the border only the learned place can make a difference."""
    net = wild(PlaceNet(1, 1, (14, 14), channels=6, num_blocks=1))
    inner = net(torch.zeros(1, 1, 14, 14, dtype=torch.float64))[0, 0, 4:10, 4:10]
    assert len(inner.flatten().unique()) == 36


def test_half_precision_inside_leaves_the_answers_whole() -> None:
    """In bfloat16 there is no level between 128 and 129."""
    net = wild(PlaceNet(1, 2, (4, 4), channels=6, num_blocks=1)).float()
    x = draws(3, (1, 4, 4)).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = net(x)
    assert found.dtype == torch.float32
    assert not torch.equal(found, found.bfloat16().float())
    assert not torch.equal(found, net(x))
    torch.testing.assert_close(found, net(x), atol=0.1, rtol=0.05)


def test_a_table_is_the_same_for_every_row() -> None:
    table = wild(Table(3, (2, 2)))
    found = table(torch.zeros(4, 0, 2, 2, dtype=torch.float64))
    assert found.shape == (4, 3, 2, 2)
    assert torch.equal(found, found[:1].expand(4, -1, -1, -1))
    assert len(found[0].unique()) == 12
