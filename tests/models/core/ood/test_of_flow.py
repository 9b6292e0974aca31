"""Goodness of fit of latents, against SciPy and for latents whose law is known."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from models.core.contract.operation import NoParams, run
from models.core.flow.latent_fit import LatentFit, anderson_darling, statistics
from models.core.flow.model import FlowModel
from models.core.ood.of_flow import FLOW_SCORES
from tests.support.models.tiny import events_of, random_model


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_squared_is_the_one_of_scipy() -> None:
    # SciPy fits the mean and deviation itself, so that it must be given values that have its own.
    z = noise(4, 50)
    z = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    with pytest.warns(FutureWarning):
        expected = [scipy.stats.anderson(row, "norm").statistic for row in z.numpy()]
    assert anderson_darling(z).tolist() == pytest.approx(expected, rel=1e-9)


def test_a_squared_is_its_integral() -> None:
    # D times the integral of (F_D - Phi)^2 / (Phi (1 - Phi)) dPhi, u = Phi.
    z = torch.tensor([[-1.3, 0.2, 0.4, 2.5]])
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    steps = np.searchsorted(scipy.stats.norm.cdf(z[0].numpy()), u) / 4
    expected = 4 * np.mean((steps - u) ** 2 / (u * (1 - u)))
    assert float(anderson_darling(z)) == pytest.approx(expected, rel=1e-4)


def test_a_squared_of_noise_is_one_on_average_and_stays_finite_far_out() -> None:
    assert float(anderson_darling(noise(4000, 40)).mean()) == pytest.approx(1, abs=0.06)
    assert bool(anderson_darling(torch.full((1, 9), 1e6)).isfinite().all())


def test_statistics_of_an_image_are_those_by_hand() -> None:
    z = noise(3, 2, 5, 4)
    found = statistics(z)
    assert found.shape == (3, 4)
    square = (z**2).mean((1, 2, 3))
    rows = torch.stack([z[:, :, i] * z[:, :, i + 1] for i in range(4)]).mean((0, 2, 3))
    columns = torch.stack([z[..., i] * z[..., i + 1] for i in range(3)]).mean((0, 2, 3))
    expected = [anderson_darling(z.flatten(1)).log(), square.log(), rows / square, columns / square]
    torch.testing.assert_close(found, torch.stack(expected, 1))


def test_vectors_have_one_side_and_sides_of_one_have_no_neighbours() -> None:
    vector = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    assert statistics(vector)[0, 2:].tolist() == [-1.0]
    assert statistics(noise(2, 3, 1, 5)).shape == (2, 3)
    assert bool(statistics(torch.zeros(1, 6)).isfinite().all())


def test_alike_neighbours_correlate() -> None:
    z = noise(1, 1, 40, 1).expand(1, 1, 40, 40)
    by_row, by_column = statistics(z)[0, 2:].tolist()
    assert by_column == pytest.approx(1)
    assert abs(by_row) < 0.4


@pytest.mark.parametrize("name", ["realnvp", "glow", "residual_flow"])
def test_the_column_is_of_the_latent_that_is_encoded(name: str) -> None:
    model = random_model(name)
    assert isinstance(model, FlowModel)
    operation, x = model.operations()["latent_fit"], events_of(model, 3)
    assert isinstance(operation, LatentFit)
    found = run(operation, {"x": x, "seed": torch.arange(3)}, NoParams())["latent_fit"]
    noisy = operation.noise.expand(3, *model.event_shape)
    z = model.encode(x, noisy).view(3, *model.event_shape).double()
    torch.testing.assert_close(found.double(), statistics(z), atol=1e-5, rtol=1e-5)
    assert float(noisy.std()) > 0.5, "the middle of all cells is no likely noise"


@pytest.mark.parametrize(
    "stranger",
    [
        noise(50, 1, 6, 6, seed=3) * 1.5,
        noise(50, 1, 6, 6, seed=3) / 1.5,
        noise(50, 1, 6, 6, seed=3).exp() - math.exp(0.5),
        noise(50, 1, 6, 6, seed=3).cumsum(3) / 2,
    ],
    ids=["wide", "narrow", "skew", "smooth"],
)
def test_what_is_no_noise_is_stranger(stranger: Tensor) -> None:
    score = FLOW_SCORES["latent_gof"]
    reference = score.fitted({"latent_fit": statistics(noise(400, 1, 6, 6))})
    own, strange = (
        score.compute({"latent_fit": statistics(z)}, reference)
        for z in (noise(50, 1, 6, 6, seed=1), stranger)
    )
    assert float((strange[:, None] > own).float().mean()) > 0.9
