"""Annealed importance sampling against constants that are known in closed form."""

import math
from dataclasses import dataclass

import pytest
import torch
from scipy import stats
from torch import Tensor

from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import Rows, concat
from models.core.energy.ais import AISParams, AnnealedImportance, log_mean_exp
from tests.support.models.cases import assert_same, in_company, rows_at
from tests.support.models.tiny import midpoints, pair_model, quadrature_log_z


@dataclass(frozen=True)
class Gaussian:
    """A product of normals cut off at the walls of the box. Tensors of shape (D,)."""

    mean: Tensor
    width: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The energy and its gradient."""
        z = (x - self.mean) / self.width
        return 0.5 * z.square().sum(1), z / self.width

    @property
    def sampler(self) -> AnnealedImportance:
        """Annealing to this energy."""
        return AnnealedImportance(self, tuple(self.mean.shape))

    @property
    def log_z(self) -> float:
        """Log of the integral over the box, by the error function."""
        mean, width = self.mean.double(), self.width.double()
        low, high = ((wall - mean) / (width * math.sqrt(2)) for wall in (0, 1))
        return float((width * math.sqrt(math.pi / 2) * (high.erf() - low.erf())).log().sum())


def gaussian(num_dims: int, narrow: float = 0.1) -> Gaussian:
    """Means in, at and beyond the walls, so that chains must bounce."""
    return Gaussian(
        torch.linspace(-0.1, 1.0, num_dims), torch.linspace(narrow, 0.6, num_dims).flip(0)
    )


def run_rows(sampler: AnnealedImportance, num: int, params: AISParams, seed: int = 0) -> Rows:
    """Independent chains."""
    return run(sampler, {"seed": row_seeds(seed, num)}, params)


@pytest.mark.parametrize(
    ("num_dims", "params"),
    [(2, AISParams(50, 3, 0.1)), (16, AISParams(80, 3, 0.08)), (2, AISParams(5, 1, 0.3))],
)
def test_log_z_of_a_truncated_gaussian(num_dims: int, params: AISParams) -> None:
    energy = gaussian(num_dims)
    result = run_rows(energy.sampler, 400, params)
    log_z, error = log_mean_exp(result["log_weight"])
    assert error < 0.2
    assert abs(log_z - energy.log_z) < 4 * error
    assert 0 <= float(result["acceptance"].min()) <= float(result["acceptance"].max()) <= 1
    assert 0.2 < float(result["acceptance"].mean()) < 1


def test_the_reported_standard_error_is_the_true_one() -> None:
    energy, params = gaussian(3), AISParams(20, 2, 0.15)
    groups = run_rows(energy.sampler, 40 * 48, params, seed=5)["log_weight"].view(40, 48)
    z = torch.tensor([(log - energy.log_z) / e for log, e in map(log_mean_exp, groups)])
    # z^2 of 40 runs: chi-squared with 40 degrees of freedom, its central 99.8 %.
    low, high = stats.chi2.ppf([0.001, 0.999], 40)
    assert low < float(z.square().sum()) < high


def test_weights_of_a_constant_energy_are_exact() -> None:
    def constant(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((len(x),), 2.5), torch.zeros_like(x)

    result = run_rows(AnnealedImportance(constant, (1, 2, 2)), 10, AISParams(64, 2, 0.3))
    assert log_mean_exp(result["log_weight"]) == (-2.5, 0.0)
    assert result["acceptance"].tolist() == [1.0] * 10


@pytest.mark.parametrize("step_size", [0.2, 0.7, 1.9])
def test_bouncing_keeps_the_uniform_density(step_size: float) -> None:
    def flat(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros(len(x)), torch.zeros_like(x)

    x = run_rows(AnnealedImportance(flat, (1,)), 3000, AISParams(2, 3, step_size))["x"]
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert stats.kstest(x.flatten().numpy(), "uniform").pvalue > 1e-3


def test_chains_end_in_the_density_itself() -> None:
    # The weights alone do not show whether the moves keep exp(-E): enough steps, then compare.
    energy = Gaussian(torch.tensor([0.1, 0.9]), torch.tensor([0.2, 0.5]))
    x = run_rows(energy.sampler, 1500, AISParams(60, 3, 0.15))["x"].double().numpy()
    for d, (mean, width) in enumerate(
        zip(energy.mean.tolist(), energy.width.tolist(), strict=True)
    ):
        truth = stats.truncnorm(-mean / width, (1 - mean) / width, mean, width)
        assert stats.kstest(x[:, d], truth.cdf).pvalue > 1e-3


@pytest.mark.parametrize("label", [None, 1])
def test_log_z_of_an_image_model_of_two_pixels(label: int | None) -> None:
    model = pair_model()
    allowed = torch.zeros(3) if label is None else torch.full((3,), -1e9)
    if label is not None:
        allowed[label] = 0

    def energy_and_grad(x: Tensor) -> tuple[Tensor, Tensor]:
        energy, grad = model.compute("energy_grad", x, allowed.expand(len(x), 3))
        return energy, grad

    if label is None:
        truth = quadrature_log_z(model)
    else:
        energy = model.energy(midpoints(400), torch.full((160_000,), label)).double()
        truth = float((-energy).exp().mean().log())
    result = run_rows(AnnealedImportance(energy_and_grad, model.event_shape), 300, AISParams(40))
    log_z, error = log_mean_exp(result["log_weight"])
    assert error < 0.2
    assert abs(log_z - truth) < 4 * error


def test_chains_are_rows_like_any_other() -> None:
    sampler = gaussian(4).sampler
    params = [AISParams(6, 1, 0.3), AISParams(3, 4, 0.05), AISParams(8, 2, 0.1), AISParams(1)]
    requests = [({"seed": row_seeds(i, 3)}, p) for i, p in enumerate(params)]
    for (inputs, own), result in zip(requests, in_company(sampler, requests), strict=True):
        alone = run(sampler, inputs, own)
        assert_same(result, alone)
        apart = [run(sampler, rows_at(inputs, slice(i, i + 1)), own) for i in range(3)]
        assert_same(concat(apart), alone)


def test_log_mean_exp_and_its_delta_method_error() -> None:
    weights = torch.tensor([1.0, 3.0, 2.0, 2.0])
    log_z, error = log_mean_exp(weights.log() + 1000)  # shifted: exp alone would overflow
    assert log_z == pytest.approx(math.log(2) + 1000)
    assert error == pytest.approx(float(weights.std()) / math.sqrt(4) / 2, rel=1e-4)
