"""Shipped diffusion models reach the bound of their cards, and draw what they were trained on."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle, load
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.diffusion.density import DiffusionModel
from models.core.diffusion.likelihood import DiffusionLogLikelihoodParams
from tests.support.shipped import shipped_paths
from training.measure.calibrate import columns_at

ROOT = Path(__file__).parents[1]
SAMPLES = {
    "ddpm_fashion-mnist": "fashion-mnist_test_1000.npz",
    "ddpm_fraktur-glyphs": "fraktur-glyphs_test_200.npz",
}
BEATS_HISTOGRAMS = {"ddpm_fashion-mnist"}
"""Not the letters: most of their pixels are exactly white, of which a histogram is all but sure,
while the network's small errors there, where noise is least, cost thousands of nats."""
NUM_RATED, NUM_TERMS = 48, 40
NUM_DRAWN = 40


class Shipped(NamedTuple):
    """A bundle, its model, and test images that it has not seen."""

    bundle: Bundle
    model: DiffusionModel
    x: np.ndarray


@cache
def shipped(name: str) -> Shipped:
    """The bundle as the service reads it."""
    bundle = load(ROOT / "bundles" / name)
    model = bundle.build()
    assert isinstance(model, DiffusionModel)
    x = np.load(ROOT / "tests" / "data" / SAMPLES[name])["x"]
    return Shipped(bundle, model, x)


def card(name: str, beginning: str) -> float:
    """The one figure whose key begins so."""
    metrics = shipped(name).bundle.metrics
    (key,) = (k for k in metrics if k.startswith(beginning) and not k.endswith("error"))
    return metrics[key]


def test_all_of_them_are_tested() -> None:
    assert {path.name for path in shipped_paths("ddpm_")} == set(SAMPLES)


every_bundle = pytest.mark.parametrize("name", SAMPLES)


@every_bundle
def test_a_few_terms_come_to_the_bound_of_the_card(name: str) -> None:
    _, model, x = shipped(name)
    params = DiffusionLogLikelihoodParams(num_terms=NUM_TERMS)
    found = columns_at(model, "log_likelihood", x[:NUM_RATED], params)["log_prob"].double()
    expected = card(name, "test_log_likelihood_bound_nats")
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / math.sqrt(NUM_RATED)
    if name in BEATS_HISTOGRAMS:
        assert -expected < card(name, "independent_values_nats")


@cache
def drawn(name: str) -> Tensor:
    """Samples of the default settings, classes in turn."""
    model = shipped(name).model
    operation = model.operations()["sample"]
    label = torch.arange(NUM_DRAWN) % model.num_classes
    inputs = {"seed": row_seeds(3, NUM_DRAWN), "label": label}
    with torch.no_grad():
        x: Tensor = run(operation, inputs, operation.default_params)["x"]
    return x


@every_bundle
def test_a_sample_is_nearer_to_a_test_image_than_noise_is(name: str) -> None:
    real = torch.from_numpy(shipped(name).x).float().flatten(1) / 255
    found = drawn(name).flatten(1)
    noise = torch.rand(found.shape, generator=torch.Generator().manual_seed(0))
    nearest, far = (torch.cdist(x, real).amin(1) for x in (found, noise))
    among_themselves = torch.cdist(real, real).fill_diagonal_(math.inf).amin(1)
    assert float(nearest.median()) < 1.5 * float(among_themselves.median())
    assert float(far.median()) > 1.5 * float(among_themselves.median())


@every_bundle
def test_samples_differ_as_test_images_do(name: str) -> None:
    real = torch.from_numpy(shipped(name).x).float().flatten(1) / 255
    found = drawn(name).flatten(1)
    assert float(found.std(0).mean()) == pytest.approx(float(real.std(0).mean()), rel=0.3)
    assert float(found.mean()) == pytest.approx(float(real.mean()), abs=0.08)
