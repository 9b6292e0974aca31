"""Figures of models whose right figures are known beforehand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.calibration.conformal import Calibration, Reference
from models.core.energy.density import EnergyConfig
from models.core.energy.model import EnergyModel
from models.jem import Config, Model
from training.data.batches import Batches
from training.data.splits import Split
from training.measure.calibrate import all_scores
from training.measure.classifier import Classifier
from training.measure.likelihood import likelihood
from training.measure.test_split import (
    Panel,
    classification,
    classifier_accuracy,
    conditional_samples,
    scored,
    screening,
)


def grey(num: int, low: int, high: int, seed: int = 0) -> Split:
    """Images of one grey each, between two levels."""
    level = np.random.default_rng(seed).integers(low, high, (num, 1, 1, 1))
    x = np.broadcast_to(level, (num, 1, 8, 8)).astype(np.uint8)
    return Split(np.ascontiguousarray(x), np.zeros(num, np.int64))


class Brightness(EnergyModel):
    """E(x) = mean of x: bright is strange."""

    def __init__(self) -> None:
        super().__init__(EnergyConfig(), num_outputs=1)
        self.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        return -x.flatten(1).mean(1, keepdim=True)


def figures(own: Split, **others: Split) -> dict[str, float]:
    """The screening of a model of brightness, calibrated on images like its own."""
    model, panel = Brightness(), Panel(own, others)
    references: dict[str, Reference] = {"energy": 0.0, "energy_typicality": 0.5}
    known = all_scores(model, references, grey(99, 100, 156, 1).x)
    calibrations = {
        name: Calibration.fit(known[name], reference) for name, reference in references.items()
    }
    return screening(calibrations, scored(model, calibrations, panel), panel)


def test_strange_images_rank_above_own_ones() -> None:
    own = grey(200, 100, 156)
    found = figures(own, bright=grey(50, 200, 255), dark=grey(50, 0, 50), like=own)
    for score in ("energy", "brightness"):
        assert found[f"auroc_{score}_vs_bright"] == pytest.approx(1)
        assert found[f"auroc_{score}_vs_dark"] == pytest.approx(0)
        assert found[f"auroc_{score}_vs_like"] == pytest.approx(0.5), "ties count half"
    assert found["auroc_energy_typicality_vs_bright"] == pytest.approx(1)
    assert found["auroc_energy_typicality_vs_dark"] == pytest.approx(1)
    assert found["flagged_energy_bright_at_alpha_0.05"] == 1
    assert found["flagged_energy_dark_at_alpha_0.05"] == 0
    assert found["flagged_energy_typicality_dark_at_alpha_0.05"] == 1


def test_false_alarms_are_counted_on_the_test_split() -> None:
    own = grey(200, 100, 156)
    x = own.x.copy()
    x[:30] = 250
    found = figures(Split(x, own.y))["test_false_alarm_rate_energy_at_alpha_0.05"]
    usual = figures(own)["test_false_alarm_rate_energy_at_alpha_0.05"]
    assert usual < 0.12
    assert 0.15 <= found <= 0.15 + usual


def test_simple_files_are_strange_files() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    half = noise.copy()
    half[:, :, 2:] = 0
    labels = np.zeros(40, np.int64)
    found = figures(Split(half, labels), flat=grey(40, 0, 255), noise=Split(noise, labels))
    assert found["auroc_file_size_vs_flat"] == pytest.approx(1)
    assert found["auroc_file_size_vs_noise"] == pytest.approx(0)


class Confident(Model):
    """Always says class 1, and always as sure."""

    def __init__(self, probability: float) -> None:
        super().__init__(Config(num_classes=2))
        self.margin = math.log(probability / (1 - probability))
        self.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        return torch.tensor([0.0, self.margin]).expand(len(x), 2)


@pytest.mark.parametrize(("says", "truth"), [(0.7, 0.7), (0.99, 0.7), (0.6, 0.95)])
def test_calibration_error_is_the_gap_between_saying_and_being_right(
    says: float, truth: float
) -> None:
    y = (np.arange(400) < 400 * truth).astype(np.int64)
    found = classification(Confident(says), Split(grey(400, 0, 255).x, y))
    assert found["test_accuracy"] == pytest.approx(truth)
    assert found["test_expected_calibration_error_15_bins"] == pytest.approx(
        abs(says - truth), abs=1e-5
    )
    cross_entropy = -truth * math.log(says) - (1 - truth) * math.log(1 - says)
    assert found["test_cross_entropy_nats"] == pytest.approx(cross_entropy, abs=1e-4)


def test_a_model_without_classes_has_no_accuracy() -> None:
    assert classification(Brightness(), grey(4, 0, 255)) == {}


class Painter(Model):
    """Draws each class as one grey; its energy is flat, so chains stay where they start."""

    def __init__(self, levels: list[float]) -> None:
        super().__init__(Config(num_classes=len(levels), noise_scale=0.0, num_steps=2))
        self.start_mean.copy_(torch.tensor(levels)[:, None].expand_as(self.start_mean))
        self.start_std.zero_()
        self.requires_grad_(False)

    def logits(self, x: Tensor) -> Tensor:
        return 0 * x.flatten(1).sum(1, keepdim=True).expand(-1, self.num_classes)


LEVELS = torch.tensor([0.1, 0.4, 0.6, 0.9])


class Ruler(Classifier):
    """Tells classes by their grey."""

    def __init__(self) -> None:
        super().__init__(1, 4, Batches(grey(4, 0, 255), 4, seed=0), num_steps=1)

    def forward(self, x: Tensor) -> Tensor:
        return -(x.flatten(1).mean(1, keepdim=True) - LEVELS).abs()


@pytest.mark.parametrize(
    ("painted", "agreement", "worst"),
    [([0.1, 0.4, 0.6, 0.9], 1.0, 1.0), ([0.1, 0.6, 0.4, 0.9], 0.5, 0.0), ([0.4] * 4, 0.25, 0.0)],
)
def test_the_classifier_agrees_where_a_sample_shows_its_class(
    painted: list[float], agreement: float, worst: float
) -> None:
    found = conditional_samples(Painter(painted), Ruler(), per_class=3)
    assert found["conditional_sample_agreement_of_judge"] == agreement
    assert found["conditional_sample_agreement_worst_class"] == worst
    assert found["conditional_samples_judged"] == 12


def test_the_classifier_is_measured_itself() -> None:
    test = Split(np.full((8, 1, 8, 8), 100, np.uint8), np.array([1] * 6 + [0] * 2))
    assert classifier_accuracy(Ruler(), test) == {"judge_test_accuracy": 0.75}


def test_likelihood_is_reported_where_the_constant_is_known() -> None:
    model = Brightness()
    assert likelihood(model, grey(4, 0, 255), grey(4, 0, 255)) == {}
    model.log_z.fill_(2.0)
    model.log_z_standard_error.fill_(0.1)
    dark = Split(np.full((3, 1, 8, 8), 51, np.uint8), np.zeros(3, np.int64))
    found = likelihood(model, dark, dark)
    nats = -0.2 - 2.0 - 64 * math.log(256)
    assert found["test_log_likelihood_estimate_nats"] == pytest.approx(nats, rel=1e-6)
    assert found["test_bits_per_dim_estimate"] == pytest.approx(-nats / 64 / math.log(2), rel=1e-6)
