"""Affine coupling: what is kept, what is seen, how far it may go, and an independent library."""

import math

import pytest
import torch
import zuko.transforms
from torch import Tensor, nn

from models.core.nn.resnet import ResNet
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import (
    Alternate,
    ChannelHalves,
    Checkerboard,
    MaskedCheckerboard,
    halves,
)
from tests.support.models.invertible import draws, seeded, wild

SHAPES: dict[str, tuple[type, tuple[int, ...]]] = {
    "channels": (ChannelHalves, (3, 2, 2)),
    "checkerboard": (Checkerboard, (1, 4, 4)),
    "masked": (MaskedCheckerboard, (1, 3, 3)),
    "vector": (Alternate, (5,)),
}
every_halves = pytest.mark.parametrize("swap", [False, True])
every_kind = pytest.mark.parametrize("kind", SHAPES)


def coupling(kind: str, *, swap: bool = False, num_context: int = 0) -> AffineCoupling:
    """With random weights, in float64."""
    parts, shape = SHAPES[kind]

    def network(num_in: int, num_out: int) -> nn.Module:
        is_image = len(shape) == 3
        return ResNet(num_in + num_context, num_out, channels=6, num_blocks=1, is_image=is_image)

    with seeded():
        part = AffineCoupling(parts(shape, swap=swap), network)
    wild(part)
    return part


def kept_mask(kind: str, *, swap: bool) -> Tensor:
    """Which entries of the event the papers keep. -> (D,) bool."""
    shape = SHAPES[kind][1]
    if kind == "channels":
        mask = torch.tensor([True, False, False])[:, None].expand(3, 4).flatten()
    else:
        rows = torch.arange(shape[-2])[:, None] if len(shape) == 3 else torch.zeros(1, 1)
        mask = ((rows + torch.arange(shape[-1])) % 2 == 0).flatten()
    return ~mask if swap else mask


@every_halves
@every_kind
def test_halves_are_joined_as_they_were_split(kind: str, swap: bool) -> None:
    parts, shape = SHAPES[kind]
    half = parts(shape, swap=swap).double()
    x = draws(2, shape)
    kept, changed = half.split(x)
    assert kept.shape == (2, *half.kept_shape)
    assert changed.shape == (2, *half.changed_shape)
    assert torch.equal(half.join(kept, changed), x)


@every_halves
@every_kind
def test_the_jacobian_is_zero_where_the_mask_says_so(kind: str, swap: bool) -> None:
    part, shape = coupling(kind, swap=swap), SHAPES[kind][1]
    x = draws(1, shape)[0]
    jacobian = torch.autograd.functional.jacobian(lambda v: part(v[None])[0][0], x)
    jacobian = jacobian.reshape(x.numel(), x.numel())
    kept = kept_mask(kind, swap=swap)
    num_kept = int(kept.sum())
    assert torch.equal(jacobian[kept][:, kept], torch.eye(num_kept).double())
    assert not bool(jacobian[kept][:, ~kept].any())
    changed = jacobian[~kept][:, ~kept]
    assert not bool((changed - changed.diagonal().diag()).any())
    assert bool(jacobian[~kept][:, kept].any(1).all())
    torch.testing.assert_close(changed.diagonal().log().sum(), part(x[None])[1][0])


@every_kind
def test_a_new_coupling_is_the_identity(kind: str) -> None:
    parts, shape = SHAPES[kind]
    half = parts(shape)

    def network(num_in: int, num_out: int) -> nn.Module:
        return ResNet(num_in, num_out, channels=4, num_blocks=2, is_image=len(shape) == 3)

    x = draws(3, shape).float()
    z, log_abs_det = AffineCoupling(half, network)(x)
    assert torch.equal(z, x)
    assert not bool(log_abs_det.any())


def test_the_scale_is_bounded_whatever_the_network_says() -> None:
    class Shout(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([1e6 * x.sign(), 0 * x], 1)

    part = AffineCoupling(Alternate((4,)), lambda *_: Shout())
    x = torch.tensor([[1.0, 1, -1, 1]])
    z, log_abs_det = part(x)
    torch.testing.assert_close(z, torch.tensor([[1.0, math.e, -1, 1 / math.e]]))
    torch.testing.assert_close(log_abs_det, torch.zeros(1))
    part.log_limit.data.fill_(math.log(2))
    torch.testing.assert_close(part(x)[0], torch.tensor([[1.0, math.e**2, -1, math.e**-2]]))


@every_kind
def test_a_context_is_seen_by_the_network_and_by_nothing_else(kind: str) -> None:
    part, shape = coupling(kind, num_context=2), SHAPES[kind][1]
    x = draws(2, shape)
    _, *rest = part.halves.kept_shape
    context, other = draws(2, (2, *rest), 1), draws(2, (2, *rest), 2)
    z, log_abs_det = part(x, context)
    back, inverse = part.inverse(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(inverse, -log_abs_det)
    kept, changed = part.halves.split(z - part(x, other)[0])
    assert not bool(kept.any())
    assert bool(changed.any())


def test_it_is_the_coupling_of_zuko() -> None:
    first, second = coupling("vector"), coupling("vector", swap=True)
    x = draws(6, (5,))

    def theirs(part: AffineCoupling, *, swap: bool) -> zuko.transforms.CouplingTransform:
        def affine(kept: Tensor) -> torch.distributions.Transform:
            raw, shift = part.network(kept).chunk(2, -1)
            limit = part.log_limit.exp()
            scale = (limit * (raw / limit).tanh()).exp()
            return torch.distributions.AffineTransform(shift, scale, event_dim=1)

        return zuko.transforms.CouplingTransform(affine, kept_mask("vector", swap=swap))

    base = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(5).double(), torch.ones(5).double()), 1
    )
    flow = zuko.distributions.NormalizingFlow(
        zuko.transforms.ComposedTransform(theirs(first, swap=False), theirs(second, swap=True)),
        base,
    )
    h, one = first(x)
    z, two = second(h)
    torch.testing.assert_close(base.log_prob(z) + one + two, flow.log_prob(x))


def test_which_halves_suit_a_shape() -> None:
    assert isinstance(halves((5,)), Alternate)
    assert isinstance(halves((1, 4, 6)), Checkerboard)
    assert isinstance(halves((1, 4, 7)), MaskedCheckerboard)
    assert isinstance(halves((1, 7, 4)), MaskedCheckerboard)


@pytest.mark.parametrize("make", [lambda: ChannelHalves((1, 4, 4)), lambda: Alternate((1,))])
def test_what_cannot_be_halved_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match="accepted are 2 and more"):
        make()


def test_the_network_runs_in_half_precision_and_the_coupling_does_not() -> None:
    part = coupling("channels").float()
    seen = []
    part.network.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        z, log_abs_det = part(draws(2, (3, 2, 2)).float())
    assert seen == [torch.bfloat16]
    assert z.dtype == log_abs_det.dtype == torch.float32
