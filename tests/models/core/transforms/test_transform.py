"""Every part that flows are built from: log-determinants, inverses, precision, initialisation."""

import math

import pytest
import torch
from torch import nn

from models.core.distributions.normal import standard_normal_log_prob
from models.core.nn.resnet import ResNet
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import (
    Alternate,
    ChannelHalves,
    Checkerboard,
    Halves,
    MaskedCheckerboard,
)
from models.core.transforms.linear import PLU, QR
from models.core.transforms.mixture_cdf import MixtureCDF
from models.core.transforms.multiscale import (
    DIAGONAL,
    ROWS,
    FactorOut,
    Squeeze,
    kept_shape,
    squeeze,
    squeezed_shape,
    unsqueeze,
)
from models.core.transforms.transform import Centre, Chain, Flatten, Logit, Standardise, Transform
from tests.support.models.invertible import assert_invertible, draws, seeded, wild

Parts = dict[str, tuple[Transform, tuple[int, ...]]]
"""Blocks by name, with the shape of what they take."""

IMAGE, VECTOR = (2, 4, 6), (5,)


def network(num_in: int, num_out: int) -> nn.Module:
    """Of a coupling of images."""
    return ResNet(num_in, num_out, channels=4, num_blocks=1, is_image=True)


def flat_network(num_in: int, num_out: int) -> nn.Module:
    """Of a coupling of vectors."""
    return ResNet(num_in, num_out, channels=6, num_blocks=1, is_image=False)


def standardise() -> Standardise:
    """Fitted to uneven data."""
    part = Standardise(VECTOR).double()
    part.fit(draws(50, VECTOR, 1) * torch.tensor([3.0, 0.1, 1, 20, 1]) + 4)
    return part


HALVES: dict[str, tuple[Halves, tuple[int, ...]]] = {
    "channels": (ChannelHalves((3, 4, 6)), (3, 4, 6)),
    "channels-swapped": (ChannelHalves((3, 4, 6), swap=True), (3, 4, 6)),
    "checkerboard": (Checkerboard(IMAGE), IMAGE),
    "checkerboard-swapped": (Checkerboard(IMAGE, swap=True), IMAGE),
    "masked": (MaskedCheckerboard((2, 3, 5)), (2, 3, 5)),
    "masked-swapped": (MaskedCheckerboard((2, 3, 5), swap=True), (2, 3, 5)),
    "vector": (Alternate(VECTOR), VECTOR),
    "vector-swapped": (Alternate(VECTOR, swap=True), VECTOR),
}


def couplings() -> Parts:
    """One for each kind of halves."""
    return {
        name: (AffineCoupling(halves, flat_network if len(shape) == 1 else network), shape)
        for name, (halves, shape) in HALVES.items()
    }


def others() -> Parts:
    """Everything else."""
    return {
        "actnorm": (ActNorm(IMAGE), IMAGE),
        "actnorm-vector": (ActNorm(VECTOR), VECTOR),
        "plu": (PLU((7,)), (7,)),
        "plu-1x1": (PLU((3, 2, 4)), (3, 2, 4)),
        "qr": (QR((6,)), (6,)),
        "qr-1x1": (QR((4, 2, 3)), (4, 2, 3)),
        "mixture": (MixtureCDF(VECTOR, 3), VECTOR),
        "mixture-image": (MixtureCDF((1, 2, 3), 2), (1, 2, 3)),
        "squeeze": (Squeeze(), IMAGE),
        "factor-out": (
            FactorOut((3, 2, 2), Chain([PLU((1, 2, 2)), Flatten((1, 2, 2))])),
            (3, 2, 2),
        ),
        "flatten": (Flatten(IMAGE), IMAGE),
        "standardise": (standardise(), VECTOR),
        "logit": (Logit(0.05), VECTOR),
        "logit-without-margin": (Logit(0.0), VECTOR),
        "centre": (Centre(), IMAGE),
        "chain": (Chain([ActNorm(VECTOR), PLU(VECTOR), MixtureCDF(VECTOR, 2)]), VECTOR),
    }


with seeded():
    COUPLINGS = couplings()
    BLOCKS = {**COUPLINGS, **others()}
for part, _ in BLOCKS.values():
    wild(part)
every_block = pytest.mark.parametrize("name", BLOCKS)


def inputs(name: str, num: int = 3) -> torch.Tensor:
    """What the block is defined on. -> (num, *shape), float64."""
    x = draws(num, BLOCKS[name][1])
    return x.sigmoid() if name.startswith("logit") else x


@every_block
def test_both_directions_agree_with_autograd(name: str) -> None:
    bisected = name in ("mixture", "mixture-image", "chain")
    assert_invertible(BLOCKS[name][0], inputs(name), bisected=bisected)


@every_block
def test_one_row_does_not_see_another(name: str) -> None:
    part, x = BLOCKS[name][0], inputs(name, 4)
    z, log_abs_det = part(x)
    for i in range(4):
        alone, its_own = part(x[i : i + 1])
        torch.testing.assert_close(alone, z[i : i + 1])
        torch.testing.assert_close(its_own, log_abs_det[i : i + 1])


@every_block
def test_float32_stays_float32_and_half_precision_nets_do_not_touch_the_state(name: str) -> None:
    part, x = BLOCKS[name][0].float(), inputs(name).float()
    try:
        z, log_abs_det = part(x)
        with torch.autocast("cpu", torch.bfloat16):
            half, its = part(x)
            back, inverse = part.inverse(half)
        assert z.dtype == half.dtype == log_abs_det.dtype == its.dtype == torch.float32
        # The network of a coupling may round; what is inverted may not.
        atol = 0.05 if name in COUPLINGS else 1e-5
        torch.testing.assert_close(half, z, atol=atol, rtol=atol)
        torch.testing.assert_close(back, x, atol=3e-5, rtol=3e-5)
        torch.testing.assert_close(inverse, -its, atol=1e-4, rtol=1e-4)
    finally:
        part.double()


@pytest.mark.parametrize("order", [ROWS, DIAGONAL])
def test_squeezing_is_a_rearrangement(order: tuple[int, ...]) -> None:
    x = torch.arange(2 * 2 * 4 * 6.0).view(2, 2, 4, 6)
    z = squeeze(x, order)
    assert z.shape == (2, *squeezed_shape((2, 4, 6)))
    assert torch.equal(unsqueeze(z, order), x)
    assert torch.equal(z[:, :2], x[:, :, ::2, ::2])


def test_halves_of_squeezed_channels_are_rows_or_the_checkerboard() -> None:
    field = (torch.arange(4)[:, None] + torch.arange(4)) % 2
    halves = squeeze(field[None, None].float(), DIAGONAL)
    assert torch.equal(halves[0, :2], torch.zeros(2, 2, 2))
    assert torch.equal(halves[0, 2:], torch.ones(2, 2, 2))
    rows = (torch.arange(4) % 2)[:, None].expand(4, 4).float()
    assert torch.equal(squeeze(rows[None, None], ROWS)[0, :2], torch.zeros(2, 2, 2))


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        squeezed_shape((1, 7, 8))


def test_what_is_factored_out_stays_as_it_is() -> None:
    part, _ = BLOCKS["factor-out"]
    x = draws(2, (3, 2, 2))
    z, _ = part(x)
    assert kept_shape((3, 2, 2)) == (1, 2, 2)
    assert torch.equal(z[:, 4:], x[:, 1:].flatten(1))
    assert not torch.equal(z[:, :4], x[:, :1].flatten(1))


def test_a_chain_runs_forward_from_x_and_adds_up() -> None:
    first, second = Centre(3.0), Standardise((2,))
    second.fit(torch.tensor([[0.0, 1.0], [4.0, 3.0]]))
    z, log_abs_det = Chain([first, second])(torch.tensor([[1.0, 0.5]]))
    std = torch.tensor([[8.0, 2.0]]).sqrt()
    torch.testing.assert_close(z, (torch.tensor([[1.5, 0.0]]) - 2) / std)
    torch.testing.assert_close(log_abs_det, 2 * math.log(3) - std.log().sum(1))


def test_standardise_leaves_a_constant_column_its_scale() -> None:
    part = Standardise((2,))
    part.fit(torch.tensor([[5.0, 1.0], [5.0, 3.0]]))
    assert part.std.tolist() == [1, pytest.approx(math.sqrt(2))]
    assert part(torch.tensor([[6.0, 2.0]]))[0].tolist() == [[1, 0]]


def test_logit_is_finite_at_the_ends_and_far_out() -> None:
    z, log_abs_det = Logit(0.05)(torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(z, torch.tensor([[-1.0, 1.0]]) * math.log(19))
    assert bool(log_abs_det.isfinite())
    x, log_abs_det = Logit(0.0).inverse(torch.tensor([[-200.0], [200.0]]))
    torch.testing.assert_close(x, torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(log_abs_det, torch.tensor([-200.0, -200.0]))


@pytest.mark.parametrize("shape", [(3, 4, 4), (3,)])
def test_actnorm_standardises_what_it_first_sees(shape: tuple[int, ...]) -> None:
    part = ActNorm(shape)
    sizes = torch.tensor([0.01, 1.0, 30.0]).view(3, *(1 for _ in shape[1:]))
    x = draws(64, shape).float() * sizes + 5
    z = part.initialise(x)
    assert torch.equal(z, part(x)[0])
    channels = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(channels.mean(1), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(channels.std(1), torch.ones(3), atol=1e-3, rtol=0)


def test_actnorm_leaves_a_constant_channel_its_scale() -> None:
    part = ActNorm((2, 2, 2))
    x = draws(8, (2, 2, 2)).float()
    x[:, 0] = 7
    z = part.initialise(x)
    assert not bool(z[:, 0].any())
    assert part.log_scale[0].tolist() == [[0]]


def test_a_chain_initialises_each_part_by_what_the_ones_before_make_of_the_data() -> None:
    first, second, third = ActNorm((2,)), Centre(4.0), ActNorm((2,))
    x = draws(100, (2,)).float() * 3 + 1
    z = Chain([first, second, third]).initialise(x)
    torch.testing.assert_close(z.std(0), torch.ones(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(third.log_scale, torch.full((2,), -math.log(4)))
    inner = ActNorm((1, 2, 2))
    FactorOut((2, 2, 2), Chain([inner, Flatten((1, 2, 2))])).initialise(draws(9, (2, 2, 2)) + 3)
    assert inner.mean.item() == pytest.approx(3, abs=1)


def test_standard_normal_log_prob_is_that_of_torch() -> None:
    z = draws(4, (2, 3))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum((1, 2))
    torch.testing.assert_close(standard_normal_log_prob(z), expected)
