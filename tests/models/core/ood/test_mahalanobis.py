"""Mahalanobis' distance, against SciPy and in the cases where there is none."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from torch import Tensor

from models.core.ood.mahalanobis import distance, fit, rows_times


def normals(num: int, dims: int, seed: int = 0) -> Tensor:
    """Correlated Gaussians far from zero, in units that differ a million times."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dims, dims, generator=torch.Generator().manual_seed(9)).double()
    x = torch.randn(num, dims, generator=generator).double() @ mixing
    return 5 + x * 10.0 ** torch.linspace(-3, 3, dims, dtype=torch.float64)


def test_it_is_that_of_scipy() -> None:
    fitted, asked = normals(200, 4), normals(7, 4, seed=1)
    inverse = np.linalg.inv(np.cov(fitted.numpy().T))
    mean = fitted.mean(0).numpy()
    expected = [scipy.spatial.distance.mahalanobis(x, mean, inverse) for x in asked.numpy()]
    assert distance(asked, fit(fitted)).tolist() == pytest.approx(expected, rel=1e-5)


def test_a_row_has_the_same_bits_in_any_company() -> None:
    rows, matrix = normals(64, 33), normals(33, 9, seed=2)[:, :7]
    together = rows_times(rows, matrix)
    torch.testing.assert_close(together, rows @ matrix)
    for size in (1, 2, 3, 8, 31):
        parts = [rows_times(part, matrix) for part in rows.split(size)]
        assert torch.equal(torch.cat(parts), together)


def test_one_number_is_measured_in_deviations() -> None:
    reference = fit(torch.tensor([[1.0], [2.0], [3.0]]))
    asked = torch.tensor([[2.0], [4.0], [-1.0]])
    assert distance(asked, reference).tolist() == pytest.approx([0, 2, 3])


def test_units_do_not_matter() -> None:
    fitted, asked = normals(50, 3), normals(5, 3, seed=1)
    factors = torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(
        distance(asked * factors, fit(fitted * factors)), distance(asked, fit(fitted))
    )


def test_in_distribution_its_square_has_as_many_degrees_of_freedom() -> None:
    found = distance(normals(4000, 5, seed=2), fit(normals(4000, 5))).square()
    assert float(found.mean()) == pytest.approx(5, abs=0.25)


def test_a_number_that_follows_from_the_others_adds_nothing_while_it_does() -> None:
    fitted, asked = normals(50, 3), normals(5, 3, seed=1)
    twice = [torch.cat([x, x[:, :1]], 1) for x in (fitted, asked)]
    torch.testing.assert_close(
        distance(twice[1], fit(twice[0])), distance(asked, fit(fitted)), rtol=1e-4, atol=1e-4
    )
    broken = twice[1].clone()
    broken[:, 3] += 0.01
    assert bool((distance(broken, fit(twice[0])) > 100).all())


def test_what_is_not_finite_is_no_distance() -> None:
    asked = torch.tensor([[torch.nan], [torch.inf], [2.0]])
    found = distance(asked, fit(torch.tensor([[1.0], [2.0], [3.0]])))
    assert found.isfinite().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (torch.rand(3, 3), "accepted are 4"),
        (torch.tensor([[1.0, 2.0], [1.0, 3.0], [1.0, 4.0]]), "never changes"),
        (torch.tensor([[1.0], [torch.nan], [3.0]]), "not finite"),
    ],
)
def test_a_spread_that_cannot_be_known_is_refused(rows: Tensor, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        fit(rows)
