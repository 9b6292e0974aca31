"""Forward KL in the space of events is reverse KL in the space of latents, and the other way round.

Papamakarios et al. 2021, arXiv:1912.02762, section 2.3.3: with pi pushed through f^-1 to pi_z,
KL(pi || p_x) = KL(pi_z || p_z).
"""

import math
from typing import Any

import pytest
from torch import Tensor

from models.core.distributions.normal import standard_normal_log_prob
from models.core.distributions.targets import TARGETS
from models.sylvester import Config, Model
from tests.support.models.invertible import seeded, wild

TARGET = TARGETS["gaussian"]
LOG_Z = TARGET.log_z()
NUM = 6_000
every_kind = pytest.mark.parametrize("kind", ["planar", "sylvester"])


def made(kind: Any) -> Model:
    """Far from the target."""
    with seeded(3):
        model = Model(Config(kind=kind))
    wild(model, 0.25)
    return model.eval()


def log_pi(x: Tensor) -> Tensor:
    """Of the target, normalised. Shapes: (B, 2) -> (B,)."""
    return TARGET.log_prob(x) - LOG_Z


def log_pi_z(model: Model, z: Tensor) -> Tensor:
    """Of the target in latent space, by the direction that samples. Shapes: (B, 2) -> (B,)."""
    x, log_abs_det = model.flow.inverse(z)
    return log_pi(x) + log_abs_det


def by_quadrature(log_p: Tensor, log_q: Tensor, log_cell: float) -> float:
    """KL(p || q) of densities at the centres of cells. Shapes: (N,), (N,)."""
    return float((log_p.exp() * (log_p - log_q)).sum()) * math.exp(log_cell)


@every_kind
def test_both_divergences_are_the_same_in_both_spaces(kind: Any) -> None:
    """Four integrals by quadrature, over events by one direction of the flow and over latents by
    the other."""
    model, num = made(kind), 500
    x = TARGET.cell_centres(num)
    z = 1.2 * x
    in_x, in_z = TARGET.log_cell(num), TARGET.log_cell(num) + 2 * math.log(1.2)
    pi, p = log_pi(x), model.log_prob(x)
    pi_z, base = log_pi_z(model, z), standard_normal_log_prob(z)
    for density, log_cell in ((pi, in_x), (p, in_x), (pi_z, in_z), (base, in_z)):
        assert float(density.exp().sum()) * math.exp(log_cell) == pytest.approx(1, abs=1e-4)
    forward = by_quadrature(pi, p, in_x)
    assert forward > 0.5
    assert by_quadrature(pi_z, base, in_z) == pytest.approx(forward, abs=1e-3)
    reverse = by_quadrature(p, pi, in_x)
    assert reverse > 0.5
    assert abs(forward - reverse) > 0.1  # or they could be taken for each other
    assert by_quadrature(base, pi_z, in_z) == pytest.approx(reverse, abs=1e-3)


@every_kind
def test_samples_agree_within_their_error(kind: Any) -> None:
    """Means over different draws, one in each space: what the two losses of training estimate."""
    model = made(kind)
    x = TARGET.draw(2 * NUM).double()
    in_x = log_pi(x[:NUM]) - model.log_prob(x[:NUM])
    z, _ = model.flow(x[NUM:])
    in_z = log_pi_z(model, z) - standard_normal_log_prob(z)
    error = math.sqrt(float(in_x.var() + in_z.var()) / NUM)
    assert abs(float(in_x.mean() - in_z.mean())) < 4 * error
    grid = TARGET.cell_centres(500)
    exact = by_quadrature(log_pi(grid), model.log_prob(grid), TARGET.log_cell(500))
    for found in (in_x, in_z):
        assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / math.sqrt(NUM)
