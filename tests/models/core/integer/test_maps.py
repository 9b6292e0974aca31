"""Integer maps: one to one over all of Z^D, and what they do equation by equation."""

import pytest
import torch
from torch import Tensor, nn

from models.core.integer.maps import (
    IntegerChain,
    IntegerCoupling,
    IntegerMap,
    Permute,
    round_through,
)
from models.core.integer.net import PlaceNet
from tests.support.models.invertible import seeded, wild

SHAPE = (4, 2, 3)


def network(num_in: int, num_out: int) -> nn.Module:
    return PlaceNet(num_in, num_out, (2, 3), channels=6, num_blocks=1)


def pointwise(num_in: int, num_out: int) -> nn.Module:
    return PlaceNet(num_in, num_out, (1, 1), channels=6, num_blocks=1)


def wild_map(chain: IntegerMap, dtype: torch.dtype = torch.float64) -> IntegerMap:
    found = wild(chain).to(dtype)
    assert isinstance(found, IntegerMap)
    return found


def coupling(num_parts: int, num_channels: int = 4) -> IntegerCoupling:
    return IntegerCoupling(num_channels, num_parts, network, unit=8.0, shift=6.0)


def integers(num: int, shape: tuple[int, ...] = SHAPE, spread: int = 300) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-spread, spread, (num, *shape), generator=generator).double()


def test_rounding_gives_whole_numbers_and_lets_the_gradient_through() -> None:
    x = torch.tensor([-2.6, -0.5, 0.49, 0.5, 1.5, 100.3], requires_grad=True)
    rounded = round_through(x)
    assert rounded.tolist() == [-3.0, 0.0, 0.0, 0.0, 2.0, 100.0]
    slope = torch.arange(6.0)
    (gradient,) = torch.autograd.grad((slope * rounded).sum(), x)
    assert torch.equal(gradient, slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("num_parts", [2, 4])
def test_a_coupling_is_undone_to_the_last_integer(num_parts: int, dtype: torch.dtype) -> None:
    found = wild_map(coupling(num_parts), dtype)
    x = integers(500).to(dtype)
    z = found(x)
    assert torch.equal(z, z.round())
    assert float((z != x).double().mean()) > 0.5
    assert torch.equal(found.inverse(z), x)
    assert torch.equal(found(found.inverse(x)), x)


def test_a_chain_of_couplings_and_permutations_is_undone() -> None:
    parts = [coupling(2), Permute(torch.tensor([2, 0, 3, 1])), coupling(4), coupling(2)]
    chain = wild_map(IntegerChain(parts))
    x = integers(200)
    assert torch.equal(chain.inverse(chain(x)), x)
    assert torch.equal(chain(chain.inverse(x)), x)


def test_a_permutation_sends_channels_where_it_says() -> None:
    order = torch.tensor([2, 0, 1])
    x = integers(2, (3, 1, 2))
    assert torch.equal(Permute(order)(x), x[:, [2, 0, 1]])


def test_the_parts_of_a_coupling_move_one_after_the_other() -> None:
    """Equation by equation, with networks whose answers are known."""

    class Sum(nn.Module):
        def __init__(self, _num_in: int, _num_out: int) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return 0.3 * x.sum(1, keepdim=True)

    a, b, c, d = 10.0, 7.0, -5.0, 3.0
    x = torch.tensor([a, b, c, d]).view(1, 4, 1, 1)
    a = a + round(0.3 * (b + c + d))
    b = b + round(0.3 * (a + c + d))
    c = c + round(0.3 * (a + b + d))
    d = d + round(0.3 * (a + b + c))
    z = IntegerCoupling(4, 4, Sum, unit=16.0, shift=16.0)(x)
    assert z.flatten().tolist() == [a, b, c, d]


def test_a_coupling_starts_as_the_identity() -> None:
    x = integers(3).float()
    assert torch.equal(coupling(4)(x), x)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_channels_must_fall_into_equal_parts(num_parts: int) -> None:
    with pytest.raises(ValueError, match="equal parts"):
        coupling(num_parts)


def test_the_gradient_of_a_coupling_is_that_without_rounding() -> None:
    found = wild_map(coupling(2)).requires_grad_(True)
    x = integers(1).requires_grad_(True)
    z = found(x)
    (gradient,) = torch.autograd.grad(z.sum(), x)
    first, last = x.chunk(2, 1)
    assert isinstance(found, IntegerCoupling)
    first = first + 6.0 * found.networks[0](last / 8.0)
    moved = first.detach().round() - first.detach()
    last = last + 6.0 * found.networks[1]((first + moved) / 8.0)
    (expected,) = torch.autograd.grad(first.sum() + last.sum(), x)
    torch.testing.assert_close(gradient, expected)


def test_a_coupling_learns_to_take_away_what_it_can_foresee() -> None:
    """The last channel is twice the first: only the gradient through rounding can tell."""
    with seeded():
        found = IntegerCoupling(2, 2, pointwise, unit=8.0, shift=4.0)
    first = torch.arange(-10.0, 11.0).view(-1, 1, 1, 1)
    x = torch.cat([first, 2 * first], 1)
    optimiser = torch.optim.Adam(found.networks[1].parameters(), 0.02)
    for _ in range(200):
        optimiser.zero_grad()
        z = found(x)[:, 1]
        z.square().mean().backward()
        optimiser.step()
    before, after = x[:, 1].square().mean(), z.detach().square().mean()
    assert float(after) < 0.02 * float(before)
