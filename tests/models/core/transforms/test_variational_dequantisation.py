"""Dequantisation: where u falls, what its density is, and that the bound is one."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from models.core.contract.noise import normal, row_seeds
from models.core.distributions.normal import standard_normal_log_prob
from models.core.transforms.dequantisation import (
    UniformDequantisation,
    cell_edge,
    into_cell,
    levels_of,
)
from models.core.transforms.variational_dequantisation import VariationalDequantisation
from tests.support.models.invertible import draws, log_abs_det, seeded, wild

SHAPES = [(1, 4, 4), (2, 3, 5), (5,)]
every_shape = pytest.mark.parametrize("shape", SHAPES)
NUM_LEVELS = 4


def variational(shape: tuple[int, ...], *, spread: float = 0.15) -> VariationalDequantisation:
    """With random weights, in float64."""
    with seeded():
        part = VariationalDequantisation(NUM_LEVELS, shape, channels=4)
    wild(part, spread)
    return part


def random_levels(num: int, shape: tuple[int, ...], num_levels: int = NUM_LEVELS) -> Tensor:
    """Whole numbers in float64."""
    return (draws(num, shape, 7).sigmoid() * num_levels).floor()


def parts_of(shape: tuple[int, ...]) -> list[nn.Module]:
    """Both kinds."""
    return [UniformDequantisation(NUM_LEVELS), variational(shape)]


@every_shape
def test_log_q_is_the_density_of_y(shape: tuple[int, ...]) -> None:
    levels, eps = random_levels(3, shape), draws(3, shape)
    for part in parts_of(shape):
        y, log_q = part(levels, eps)
        log_slope = torch.cat([_log_slope(part, levels[i], eps[i]) for i in range(3)])
        expected = standard_normal_log_prob(eps) - log_slope
        torch.testing.assert_close(log_q, expected, atol=1e-6, rtol=0)
        assert torch.equal(levels_of(y, NUM_LEVELS), levels.long())


def _log_slope(part: nn.Module, levels: Tensor, eps: Tensor) -> Tensor:
    """log abs det of dy/deps at one row, by autograd. -> (1,)."""
    return log_abs_det(lambda e: part(levels[None], e)[0], eps[None])


@every_shape
def test_far_noise_and_no_noise_stay_inside_the_cell(shape: tuple[int, ...]) -> None:
    for num_levels in (2, 17, 256):
        levels = random_levels(4, shape, num_levels).float()
        levels[0], levels[1] = 0, num_levels - 1
        part = VariationalDequantisation(num_levels, shape, channels=4)
        wild(part).float()
        for both in (UniformDequantisation(num_levels), part):
            for size in (0.0, 1.0, 6.0, -6.0, 60.0, -60.0):
                y, log_q = both(levels, torch.full_like(levels, size))
                assert torch.equal(levels_of(y, num_levels), levels.long())
                assert 0 < float(y.min()) <= float(y.max()) < 1
                assert bool(log_q.isfinite().all())


def test_uniform_noise_is_uniform() -> None:
    seed = row_seeds(0, 400)
    eps = normal(seed, torch.zeros_like(seed), (3, 4))
    levels = torch.full((400, 3, 4), 2.0)
    y, log_q = UniformDequantisation(5)(levels, eps)
    assert stats.kstest((y * 5 - 2).flatten().numpy(), "uniform").pvalue > 0.01
    torch.testing.assert_close(log_q, torch.full((400,), 12 * math.log(5)))
    centre, _ = UniformDequantisation(5)(levels, torch.zeros_like(levels))
    torch.testing.assert_close(centre, torch.full_like(levels, 0.5))


def test_new_variational_noise_is_nearly_uniform() -> None:
    eps, levels = draws(200, (1, 4, 4)), random_levels(200, (1, 4, 4))
    part = VariationalDequantisation(NUM_LEVELS, (1, 4, 4), channels=4).double()
    with torch.no_grad():
        y, log_q = part(levels, eps)
    assert float((y * NUM_LEVELS - levels - torch.special.ndtr(eps)).abs().max()) < 0.02
    # The divergence to the uniform distribution, in nats a pixel.
    divergence = log_q.mean() / 16 - math.log(NUM_LEVELS)
    assert 0 < float(divergence) < 0.02


@every_shape
def test_variational_noise_depends_on_the_event_of_its_row_alone(shape: tuple[int, ...]) -> None:
    part, levels = variational(shape), random_levels(3, shape)
    eps = draws(1, shape).expand(3, *shape)
    y, log_q = part(levels, eps)
    u = y * NUM_LEVELS - levels
    assert float((u[0] - u[1]).abs().max()) > 1e-3
    for i in range(3):
        alone, its = part(levels[i : i + 1], eps[:1])
        torch.testing.assert_close(alone, y[i : i + 1])
        torch.testing.assert_close(its, log_q[i : i + 1])


@pytest.mark.parametrize("shape", [(1, 2, 2), (2,)])
def test_variational_noise_has_mass_one(shape: tuple[int, ...]) -> None:
    # E_q[1 / q(y)] is the volume of where q lives: the cell without its edges.
    part, num = variational(shape, spread=0.1), 20_000
    seed = row_seeds(3, num)
    eps = normal(seed, torch.zeros_like(seed), shape).double()
    levels = random_levels(1, shape).expand(num, *shape)
    ratio = (-part(levels, eps)[1]).exp() * NUM_LEVELS ** eps[0].numel()
    error = float(ratio.std()) / math.sqrt(num)
    assert error < 0.02
    assert float(ratio.mean()) == pytest.approx(1, abs=4 * error)


@pytest.mark.parametrize("shape", [(1, 2, 2), (5,)])
def test_a_variational_fit_tightens_the_bound(shape: tuple[int, ...]) -> None:
    # Of a density that leans to the top of every cell the best q leans likewise.
    with seeded():
        part = VariationalDequantisation(NUM_LEVELS, shape, channels=4)
    optimiser = torch.optim.Adam(part.parameters(), lr=0.05)

    def slack() -> Tensor:
        levels, eps = random_levels(64, shape).float(), torch.randn(64, *shape)
        y, log_q = part(levels, eps)
        log_p = (2 * (y * NUM_LEVELS - levels)).log() + math.log(NUM_LEVELS)
        return (log_q - log_p.flatten(1).sum(1)).mean() / eps[0].numel()

    with seeded():
        before = float(slack().detach())
        for _ in range(80):
            optimiser.zero_grad()
            slack().backward()
            optimiser.step()
        after = float(slack().detach())
    assert before == pytest.approx(1 - math.log(2), abs=0.1)  # that of uniform noise
    assert after < 0.05


def test_the_cell_keeps_its_edge() -> None:
    levels = torch.arange(256.0)
    for u in (0.0, 1.0):
        y = into_cell(levels, torch.full((256,), u), 256)
        assert torch.equal(levels_of(y, 256), torch.arange(256))
    assert cell_edge(torch.float64) < cell_edge(torch.float32)


def test_no_couplings_are_refused() -> None:
    with pytest.raises(ValueError, match="1 and more"):
        VariationalDequantisation(4, (5,), channels=4, num_couplings=0)
