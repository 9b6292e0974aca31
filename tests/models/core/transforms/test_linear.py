"""Linear maps by their decompositions: equal to a dense W, and never asked for its determinant."""

from typing import Any

import nflows.transforms
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.core.transforms.linear import PLU, QR, Linear, LinearName, linear, unit_lower_inverse
from tests.support.models.invertible import draws, seeded, wild

NAMES: tuple[LinearName, ...] = ("plu", "qr")
every_name = pytest.mark.parametrize("name", NAMES)
SIZES = (1, 2, 3, 8, 13, 64)


def made(name: LinearName, shape: tuple[int, ...], spread: float = 0.1) -> Linear:
    """With noise on its weights, in float64."""
    with seeded():
        part = linear(name, shape)
    wild(part, spread)
    return part


@every_name
@pytest.mark.parametrize("size", SIZES)
def test_it_is_its_dense_matrix(name: LinearName, size: int) -> None:
    part, x = made(name, (size,)), draws(3, (size,))
    weight = part.weight()
    z, log_abs_det = part(x)
    torch.testing.assert_close(z, x @ weight.T + part.bias)
    expected = torch.linalg.slogdet(weight).logabsdet.expand(3)
    torch.testing.assert_close(log_abs_det, expected, atol=1e-8, rtol=0)
    back, inverse = part.inverse(z)
    torch.testing.assert_close(back, x, atol=1e-8, rtol=0)
    torch.testing.assert_close(inverse, -expected, atol=1e-8, rtol=0)


@every_name
def test_over_channels_it_is_the_same_map_at_every_position(name: LinearName) -> None:
    flat, image = made(name, (4,)), made(name, (4, 2, 3))
    image.load_state_dict({**flat.state_dict(), "bias": flat.bias.view(4, 1, 1)})
    x = draws(2, (4, 2, 3))
    z, log_abs_det = image(x)
    at_each = flat(x.permute(0, 2, 3, 1).reshape(12, 4))
    torch.testing.assert_close(z.permute(0, 2, 3, 1).reshape(12, 4), at_each[0])
    torch.testing.assert_close(log_abs_det, at_each[1].view(2, 6).sum(1))


def test_plu_is_a_permutation_a_unit_lower_and_a_positive_upper_triangle() -> None:
    part = made("plu", (9,), 0.5)
    assert isinstance(part, PLU)
    assert part.rows.sort().values.tolist() == list(range(9))
    assert part.rows.tolist() != list(range(9))
    permutation = torch.eye(9).double()[part.rows]
    lower = part.triangles.tril(-1) + torch.eye(9)
    upper = part.triangles.triu(1) + part.log_diagonal.exp().diag()
    torch.testing.assert_close(part.weight(), permutation @ lower @ upper)
    assert permutation.abs().sum(0).tolist() == permutation.abs().sum(1).tolist() == [1] * 9


def test_qr_is_a_product_of_reflections_and_a_positive_upper_triangle() -> None:
    part = made("qr", (6,), 0.5)
    assert isinstance(part, QR)
    product = torch.eye(6).double()
    for v in part.vectors:
        product = product @ (torch.eye(6) - 2 * torch.outer(v, v) / v.square().sum())
    torch.testing.assert_close(part.orthogonal(), product)
    torch.testing.assert_close(product.T @ product, torch.eye(6).double())
    upper = product.T @ part.weight()
    torch.testing.assert_close(upper.tril(-1), torch.zeros(6, 6).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(upper.diagonal(), part.log_diagonal.exp())


@every_name
def test_it_starts_as_a_rotation_with_a_positive_diagonal(name: LinearName) -> None:
    with seeded():
        part = linear(name, (16,)).double()
    weight = part.weight().detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(16).double(), atol=1e-6, rtol=0)
    assert float((weight - torch.eye(16)).abs().max()) > 0.1


@pytest.mark.parametrize("size", SIZES)
def test_triangles_are_inverted_by_blocks(size: int) -> None:
    lower = draws(1, (size, size))[0].mul(0.3).tril(-1) + torch.eye(size)
    expected = torch.linalg.inv(lower)
    torch.testing.assert_close(unit_lower_inverse(lower), expected, atol=1e-9, rtol=1e-9)


class _Seen(TorchDispatchMode):
    """Names of all operators that run."""

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self)
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@every_name
@pytest.mark.parametrize("shape", [(8,), (8, 2, 2)])
def test_no_determinant_inverse_or_decomposition_is_computed(
    name: LinearName, shape: tuple[int, ...]
) -> None:
    part, x = made(name, shape), draws(2, shape)
    with _Seen() as seen:
        part.inverse(part(x)[0])
    assert "aten.mm.default" in seen.names
    assert not _costly(seen)
    for function in (torch.linalg.slogdet, torch.linalg.inv, torch.linalg.qr, torch.det):
        with _Seen() as seen:
            function(part.weight())
        assert _costly(seen)


def _costly(seen: _Seen) -> set[str]:
    """What cannot be exported, and costs O(D^3) besides."""
    names = {name.removeprefix("aten.").split(".")[0] for name in seen.names}
    found = {name for name in names if "linalg" in name or "triangular" in name or "lu_" in name}
    return found - {"linalg_vector_norm"}


@every_name
def test_the_determinant_reads_the_diagonal_alone(name: LinearName) -> None:
    part = made(name, (5,)).requires_grad_(True)
    log_abs_det = part(draws(1, (5,)))[1]
    assert log_abs_det.item() == pytest.approx(part.log_diagonal.sum().item())
    log_abs_det.sum().backward()
    found = {key for key, value in part.named_parameters() if value.grad is not None}
    assert found == {"log_diagonal"}


def nflows_log_prob(theirs: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Their log density under a standard normal base, and their latents."""
    z, log_abs_det = theirs(x)
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_abs_det, z


def our_log_prob(part: Linear, x: Tensor) -> tuple[Tensor, Tensor]:
    """The same of ours."""
    z, log_abs_det = part(x)
    return torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + log_abs_det, z


def test_plu_without_permutation_is_the_lu_of_nflows() -> None:
    part, x = made("plu", (7,)), draws(5, (7,))
    assert isinstance(part, PLU)
    part.rows.copy_(torch.arange(7))
    theirs: Any = nflows.transforms.LULinear(7)
    theirs.double()
    with torch.no_grad():
        low, up = torch.tril_indices(7, 7, -1), torch.triu_indices(7, 7, 1)
        theirs.lower_entries.copy_(part.triangles[low[0], low[1]])
        theirs.upper_entries.copy_(part.triangles[up[0], up[1]])
        diagonal = part.log_diagonal.exp() - theirs.eps
        theirs.unconstrained_upper_diag.copy_(diagonal.expm1().log())
        theirs.bias.copy_(part.bias)
        torch.testing.assert_close(our_log_prob(part, x), nflows_log_prob(theirs, x))


def test_qr_is_that_of_nflows() -> None:
    part, x = made("qr", (7,)), draws(5, (7,))
    assert isinstance(part, QR)
    theirs: Any = nflows.transforms.QRLinear(7, num_householder=7)
    theirs.double()
    with torch.no_grad():
        up = torch.triu_indices(7, 7, 1)
        theirs.upper_entries.copy_(part.upper[up[0], up[1]])
        theirs.log_upper_diag.copy_(part.log_diagonal)
        # Theirs reflects by the first vector first, ours by the last, as Q = H_1 ... H_D.
        theirs.orthogonal.q_vectors.copy_(part.vectors.flip(0))
        theirs.bias.copy_(part.bias)
        torch.testing.assert_close(our_log_prob(part, x), nflows_log_prob(theirs, x))


def test_unknown_names_are_refused() -> None:
    unknown: Any = "svd"
    with pytest.raises(ValueError, match="'plu' and 'qr'"):
        linear(unknown, (3,))
