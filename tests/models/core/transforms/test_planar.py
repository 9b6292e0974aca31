"""Planar maps: one to one, by the determinant lemma, and equal to another library's."""

import math
from functools import partial

import normflows
import pytest
import torch
from torch import Tensor

from models.core.distributions.normal import standard_normal_log_prob
from models.core.transforms.planar import NO_STRETCH, Planar, planar, stretch
from models.core.transforms.tanh_root import LEAST_STRETCH, tanh_root, tanh_slope
from models.core.transforms.transform import Chain
from tests.support.models.invertible import assert_invertible, draws, log_abs_det, seeded, wild

every_size = pytest.mark.parametrize("size", [1, 2, 5])


def made(size: int, num_blocks: int = 1) -> Planar:
    """With noise on its weights, in float64."""
    with seeded():
        part = Planar(size, num_blocks)
    wild(part, 0.5)
    return part


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_equation_is_solved_to_the_last_bits(dtype: torch.dtype) -> None:
    size = torch.cat([torch.zeros(1), torch.logspace(-8, 2.4, 400)]).to(dtype)
    s = torch.cat([size, -size])[:, None]
    along = torch.logspace(-3, 3.4, 200).to(dtype)
    a = tanh_root(s, along)
    error = (a + (along - 1) * a.tanh() - s).abs() / s.abs().clamp(min=1)
    assert float(error.max()) <= 4 * torch.finfo(dtype).eps
    assert torch.equal(a[: len(size)], -a[len(size) :])


def test_gradients_of_the_root_are_those_of_the_equation() -> None:
    s, along = draws(20, ()).requires_grad_(), draws(20, (), 1).exp().requires_grad_()
    assert torch.autograd.gradcheck(tanh_root, (s, along))


def test_the_slope_is_a_derivative_and_stays_positive() -> None:
    a = torch.linspace(-30, 30, 61, dtype=torch.float64).requires_grad_()
    along = torch.tensor(LEAST_STRETCH, dtype=torch.float64)
    (expected,) = torch.autograd.grad((a + (along - 1) * a.tanh()).sum(), a)
    slope = tanh_slope(a.detach().tanh(), along)
    torch.testing.assert_close(slope, expected)
    assert float(slope.min()) >= LEAST_STRETCH


@every_size
def test_a_block_is_invertible_with_the_determinant_of_autograd(size: int) -> None:
    assert_invertible(made(size), 2 * draws(6, (size,)))
    assert_invertible(made(size, 4), 2 * draws(6, (size,)))


def test_blocks_come_one_after_the_other() -> None:
    part, z = made(3, 4), draws(5, (3,))
    x, total = z, torch.zeros(5, dtype=torch.float64)
    for u, w, b in zip(part.u, part.w, part.b, strict=True):
        x, log_det = planar(x, u, w, b)
        total = total + log_det
    torch.testing.assert_close(part(z), (x, total))


@every_size
def test_parameters_may_be_a_row_each(size: int) -> None:
    """As an encoder gives them; each row equals a block with that row's weights."""
    z, u, w, b = (draws(6, (size,), seed) for seed in range(4))
    u, b = 3 * u, b[:, 0]
    found, total = planar(z, u, w, b)
    for i in range(6):
        one, log_det = planar(z[i : i + 1], u[i], w[i], b[i])
        torch.testing.assert_close(one[0], found[i])
        torch.testing.assert_close(log_det[0], total[i])
        (expected,) = log_abs_det(partial(_image, u[i], w[i], b[i]), z[i : i + 1])
        assert float(total[i]) == pytest.approx(float(expected), abs=1e-8)


def _image(u: Tensor, w: Tensor, b: Tensor, z: Tensor) -> Tensor:
    return planar(z, u, w, b)[0]


def test_gradients_reach_an_encoder() -> None:
    arguments = tuple(draws(3, (2,), seed).requires_grad_() for seed in range(3))
    b = draws(3, (), 3).requires_grad_()
    assert torch.autograd.gradcheck(planar, (*arguments, b))


@pytest.mark.parametrize("far", [1.0, 30.0])
def test_the_constraint_holds_whatever_the_weights(far: float) -> None:
    """1 + w.u^ h' > 0 everywhere, so f is increasing along w."""
    u, w = far * draws(500, (4,)), far * draws(500, (4,), 1)
    zero = torch.zeros(500, dtype=torch.float64)
    # Where w.z + b = 0 the slope is 1 + w.u^ itself.
    _, least = planar(torch.zeros_like(u), u, w, zero)
    assert float(least.exp().min()) >= LEAST_STRETCH * (1 - 1e-9)
    product = (w * u).sum(1)
    expected = (product.clamp(max=30).exp().log1p() + (product - 30).clamp(min=0)).clamp(
        min=LEAST_STRETCH
    )
    torch.testing.assert_close(least.exp(), expected, rtol=1e-6, atol=0)


def test_the_stretch_is_one_where_it_is_said_to_be() -> None:
    assert float(stretch(torch.tensor(NO_STRETCH))) == pytest.approx(1)
    assert float(stretch(torch.tensor(-1e4))) == pytest.approx(LEAST_STRETCH)


def test_without_a_direction_it_is_a_shift() -> None:
    z, u = draws(3, (2,)), torch.tensor([1.0, -2.0], dtype=torch.float64)
    w, b = torch.zeros(2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    found, total = planar(z, u, w, b)
    torch.testing.assert_close(found, z + u * math.tanh(0.7))
    assert total.tolist() == [0, 0, 0]


def test_normflows_agrees() -> None:
    """Their planar layers with our weights: the same samples and densities."""
    ours, theirs = [], []
    for seed in range(4):
        with seeded(seed):
            block = Planar(3)
        wild(block, 0.5, seed)
        weights = {name: block.get_parameter(name).clone() for name in ("u", "w", "b")}
        theirs.append(normflows.flows.Planar((3,), **weights).double())
        ours.append(block)
    z = 2 * draws(50, (3,))
    x, total = Chain(ours)(z)
    expected, their_total = z, torch.zeros(50, dtype=torch.float64)
    for layer in theirs:
        expected, log_det = layer(expected)
        their_total = their_total + log_det
    torch.testing.assert_close(x, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(total, their_total, atol=1e-12, rtol=0)
    assert float(total.std()) > 0.1  # or agreement says little
    # Theirs cannot invert: the density of what they drew, by our inverse.
    base = normflows.distributions.DiagGaussian(3).double()
    back, inverse = Chain(ours).inverse(expected)
    found = standard_normal_log_prob(back) + inverse
    torch.testing.assert_close(found, base.log_prob(z) - their_total, atol=1e-9, rtol=0)
