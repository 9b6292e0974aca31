"""Sylvester maps and convolution exponentials: one to one, equal to their dense matrices."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from models.core.nn.resnet import ResNet
from models.core.transforms.convolution_exponential import (
    ConvolutionExponential,
    GeneralisedSylvester,
    norm_bound,
    remainder,
)
from models.core.transforms.coupling import AffineCoupling
from models.core.transforms.halves import ChannelHalves
from models.core.transforms.planar import planar
from models.core.transforms.sylvester import (
    Sylvester,
    householder,
    sylvester,
    triangles,
)
from models.core.transforms.tanh_root import LEAST_STRETCH
from tests.support.models.invertible import assert_invertible, draws, log_abs_det, seeded, wild

SIZES = [(1, 1, 1), (2, 2, 1), (5, 3, 2), (6, 6, 6)]
"""Dimensions, units, reflections."""


def made(size: int, num_units: int, num_reflections: int, num_blocks: int = 1) -> Sylvester:
    """With noise on its weights, in float64."""
    with seeded():
        part = Sylvester(size, num_units, num_reflections, num_blocks)
    wild(part, 0.8)
    return part


def dense(part: ConvolutionExponential, shape: tuple[int, ...]) -> Tensor:
    """M by its action on every unit image. -> (D, D)."""
    size = math.prod(shape)
    unit = torch.eye(size, dtype=torch.float64).view(size, *shape)
    kernel = part.bounded()
    images = torch.nn.functional.conv2d(unit, kernel, padding=kernel.shape[-1] // 2)
    return images.flatten(1).T


@pytest.mark.parametrize("sizes", SIZES)
def test_a_block_is_invertible_with_the_determinant_of_autograd(
    sizes: tuple[int, int, int],
) -> None:
    assert_invertible(made(*sizes), 2 * draws(5, (sizes[0],)))
    assert_invertible(made(*sizes, 3), 2 * draws(5, (sizes[0],)))


def test_blocks_come_one_after_the_other() -> None:
    part, z = made(4, 3, 2, 3), draws(5, (4,))
    x, total = z, torch.zeros(5, dtype=torch.float64)
    for i in range(3):
        matrices = householder(part.vectors[i], 3), *triangles(part.raw_r[i], part.raw_r_tilde[i])
        x, log_det = sylvester(x, *matrices, part.b[i])
        total = total + log_det
    torch.testing.assert_close(part(z), (x, total))


@pytest.mark.parametrize("sizes", SIZES)
def test_a_block_is_the_formula_of_the_paper(sizes: tuple[int, int, int]) -> None:
    part, z = made(*sizes), draws(4, (sizes[0],))
    q = householder(part.vectors[0], sizes[1])
    r, r_tilde = triangles(part.raw_r[0], part.raw_r_tilde[0])
    expected = torch.stack([row + q @ r @ (r_tilde @ q.T @ row + part.b[0]).tanh() for row in z])
    torch.testing.assert_close(part(z)[0], expected)
    assert float((expected - z).abs().amax()) > 0.1


def test_columns_are_orthonormal_and_made_of_reflections() -> None:
    vectors = draws(3, (5,))
    q = householder(vectors, 4)
    torch.testing.assert_close(q.T @ q, torch.eye(4).double())
    full = torch.eye(5).double()
    for v in vectors:
        full = (torch.eye(5) - 2 * torch.outer(v, v) / v.square().sum()) @ full
    torch.testing.assert_close(q, full[:, :4])


@pytest.mark.parametrize("far", [0.0, 1.0, 50.0])
def test_triangles_keep_the_constraint_whatever_the_numbers(far: float) -> None:
    r, r_tilde = triangles(far * draws(200, (4, 4)), far * draws(200, (4, 4), 1))
    for matrix in (r, r_tilde):
        assert torch.equal(matrix, matrix.triu())
    product = r.diagonal(dim1=1, dim2=2) * r_tilde.diagonal(dim1=1, dim2=2)
    assert float(1 + product.min()) >= LEAST_STRETCH * (1 - 1e-9)
    assert float(r_tilde.diagonal(dim1=1, dim2=2).min()) > 0
    if far == 0:
        torch.testing.assert_close(r, torch.zeros_like(r), atol=1e-12, rtol=0)
    else:
        assert float(r.triu(1).abs().max()) > far


def test_parameters_may_be_a_row_each() -> None:
    """As an encoder gives them; each row equals a block with that row's weights."""
    z, b = draws(4, (5,)), draws(4, (3,), 1)
    q = householder(draws(4, (2, 5), 2), 3)
    r, r_tilde = triangles(draws(4, (3, 3), 3), draws(4, (3, 3), 4))
    found, total = sylvester(z, q, r, r_tilde, b)
    for i in range(4):
        one, log_det = sylvester(z[i : i + 1], q[i], r[i], r_tilde[i], b[i])
        torch.testing.assert_close(one[0], found[i])
        torch.testing.assert_close(log_det[0], total[i])
        (expected,) = log_abs_det(partial(_image, q[i], r[i], r_tilde[i], b[i]), z[i : i + 1])
        assert float(total[i]) == pytest.approx(float(expected), abs=1e-8)


def _image(q: Tensor, r: Tensor, r_tilde: Tensor, b: Tensor, z: Tensor) -> Tensor:
    return sylvester(z, q, r, r_tilde, b)[0]


def test_gradients_reach_an_encoder() -> None:
    numbers = tuple(draws(2, shape, i) for i, shape in enumerate([(3,), (1, 3), (2, 2), (2, 2)]))
    inputs = tuple(number.requires_grad_() for number in (*numbers, draws(2, (2,), 9)))

    def made_of(z: Tensor, vectors: Tensor, a: Tensor, c: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        matrices = (householder(vectors, 2), *triangles(a, c))
        return sylvester(z, *matrices, b)

    assert torch.autograd.gradcheck(made_of, inputs)


def test_one_unit_is_a_planar_map() -> None:
    """w = r~ q and u = r q: then w.u > -1 already, and planar leaves it alone at its own u."""
    part, z = made(4, 1, 1), draws(6, (4,))
    q = householder(part.vectors[0], 1)
    r, r_tilde = triangles(part.raw_r[0], part.raw_r_tilde[0])
    w, constrained = (r_tilde * q).squeeze(1), (r * q).squeeze(1)
    # planar moves u along w until w.u^ = -1 + softplus(w.u): here w.u^ is given.
    raw = (1 + w @ constrained).expm1().log()
    u = constrained + (raw - w @ constrained) * w / w.square().sum()
    found, total = planar(z, u, w, part.b[0, 0])
    expected, log_det = part(z)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(total, log_det)


@pytest.mark.parametrize(("units", "reflections"), [(0, 1), (4, 1), (2, 0)])
def test_sizes_that_make_no_sense_are_refused(units: int, reflections: int) -> None:
    with pytest.raises(ValueError, match="accepted are"):
        Sylvester(3, units, reflections)


@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 4, 3)])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_convolution_exponential_is_the_dense_matrix_exponential(
    shape: tuple[int, int, int], side: int
) -> None:
    with seeded():
        part = ConvolutionExponential(shape, side=side)
    wild(part, 0.2)
    matrix, x = dense(part, shape), draws(3, shape)
    expected = x.flatten(1) @ torch.linalg.matrix_exp(matrix).T
    z, log_det = part(x)
    bound = remainder(part.max_norm, part.num_terms) * x.flatten(1).norm(dim=1)
    assert bool(((z.flatten(1) - expected).norm(dim=1) <= bound).all())
    torch.testing.assert_close(log_det, matrix.trace().expand(3), atol=1e-12, rtol=0)
    exact = torch.linalg.slogdet(torch.linalg.matrix_exp(matrix)).logabsdet
    torch.testing.assert_close(log_det, exact.expand(3), atol=1e-9, rtol=0)
    assert_invertible(part, x, 1e-6)


def test_the_norm_keeps_its_bound() -> None:
    shape = (2, 4, 4)
    for spread in (0.05, 0.3, 3.0):
        with seeded():
            part = ConvolutionExponential(shape)
        wild(part, spread)
        norm = float(torch.linalg.matrix_norm(dense(part, shape), 2))
        assert norm <= float(norm_bound(part.bounded())) + 1e-12
        assert float(norm_bound(part.bounded())) <= part.max_norm + 1e-9
        if spread == 0.05:
            assert torch.equal(part.bounded(), part.kernel), "small kernels stay"


def test_the_bound_is_reached() -> None:
    """By one channel that is the sum of two, and nearly by a kernel of equal numbers."""
    with seeded():
        part = ConvolutionExponential((2, 3, 3), side=1, max_norm=9.0).double()
        blur = ConvolutionExponential((1, 9, 9), max_norm=9.0).double()
    with torch.no_grad():
        part.kernel.copy_(torch.tensor([[1.0, 1.0], [0.0, 0.0]]).view(2, 2, 1, 1))
        blur.kernel.fill_(0.9)
    for one, shape, least in ((part, (2, 3, 3), 1 - 1e-9), (blur, (1, 9, 9), 0.9)):
        norm = float(torch.linalg.matrix_norm(dense(one.requires_grad_(False), shape), 2))
        assert least <= norm / float(norm_bound(one.kernel)) <= 1 + 1e-9


@pytest.mark.parametrize("num_terms", [2, 4, 8])
def test_the_remainder_is_a_bound_and_not_a_loose_one(num_terms: int) -> None:
    """The series of exp at its norm, where the bound is nearly reached."""
    series = sum(1.5**k / math.factorial(k) for k in range(num_terms + 1))
    error = math.exp(1.5) - series
    assert error <= remainder(1.5, num_terms) <= 1.2 * error


def test_a_generalised_map_adds_what_is_found_in_another_basis() -> None:
    """x + W^-1 f(W x), the formula of the paper, and its determinant."""
    shape = (2, 2, 2)

    def network(num_in: int, num_out: int) -> ResNet:
        return ResNet(num_in, num_out, channels=4, num_blocks=1, is_image=True)

    with seeded():
        basis = ConvolutionExponential(shape)
        inner = AffineCoupling(ChannelHalves(shape), network)
    part = GeneralisedSylvester(basis, inner)
    wild(part, 0.3)
    x = draws(3, shape)
    h = basis(x)[0]
    expected = x + basis.inverse(inner(h)[0] - h)[0]
    torch.testing.assert_close(part(x)[0], expected, atol=1e-7, rtol=0)
    assert float((expected - x).abs().max()) > 0.1
    assert_invertible(part, x, 1e-6)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        ConvolutionExponential((1, 4, 4), side=2)
