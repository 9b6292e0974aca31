"""Bases of flows against scipy's distributions, far into both tails."""

import pytest
import torch
from scipy import stats

from models.core.distributions.base import Base, Logistic, Normal

LAWS = {"normal": (Normal(), stats.norm), "logistic": (Logistic(), stats.logistic)}


@pytest.mark.parametrize("name", LAWS)
def test_a_base_is_the_distribution_that_it_is_named_for(name: str) -> None:
    base, law = LAWS[name]
    z = torch.linspace(-30, 30, 121, dtype=torch.float64)
    expected = torch.from_numpy(law.logpdf(z.numpy()))
    torch.testing.assert_close(base.log_prob(z[:, None]), expected, rtol=1e-12, atol=1e-12)
    together = base.log_prob(torch.stack([z, z.flip(0)], 1).view(-1, 2, 1))
    torch.testing.assert_close(together, expected + expected.flip(0), rtol=1e-12, atol=1e-12)
    eps = torch.linspace(-7, 7, 57, dtype=torch.float64)
    # By the tail that is nearer, as scipy too loses what lies beyond 1 - 1e-16.
    far = torch.from_numpy(law.isf(stats.norm.sf(eps.abs().numpy()))).copysign(eps)
    torch.testing.assert_close(base.from_normal(eps), far, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("base", [base for base, _ in LAWS.values()], ids=list(LAWS))
def test_to_normal_undoes_from_normal(base: Base) -> None:
    eps = torch.linspace(-8, 8, 65, dtype=torch.float64).view(5, 13)
    torch.testing.assert_close(base.to_normal(base.from_normal(eps)), eps, rtol=1e-9, atol=1e-9)
    single = eps.float()
    assert base.from_normal(single).dtype == torch.float32
    torch.testing.assert_close(base.to_normal(base.from_normal(single)), single)
