"""Figures on the untouched test split: accuracy, calibration, false alarms, AUROC, samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from models.core.calibration.conformal import Calibration
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from training.data.splits import Split, as_events
from training.measure.calibrate import all_scores, columns
from training.measure.classifier import Classifier
from training.measure.trivial_scores import file_bytes

ALPHA = 0.05


@dataclass(frozen=True)
class Panel:
    """What a model is tested on: its own test split, and other data sets by name."""

    test: Split
    others: dict[str, Split]


def classification(model: GenerativeModel, test: Split) -> dict[str, float]:
    """Accuracy, expected calibration error (15 bins) and cross-entropy on the test split."""
    if "classify" not in model.operations():
        return {}
    probabilities = columns(model, "classify", test.x)["probabilities"]
    y = torch.from_numpy(test.y)
    error = multiclass_calibration_error(probabilities, y, probabilities.shape[1], n_bins=15)
    chosen = probabilities.gather(1, y[:, None]).clamp(min=1e-12)
    return {
        "test_accuracy": float((probabilities.argmax(1) == y).float().mean()),
        "test_expected_calibration_error_15_bins": float(error),
        "test_cross_entropy_nats": float(-chosen.log().mean()),
    }


@dataclass(frozen=True)
class Scored:
    """One score of the events of a panel."""

    own: Tensor
    """(N,), of the test split."""
    others: dict[str, Tensor]
    """(M,) each, by name."""


def scored(
    model: GenerativeModel, calibrations: dict[str, Calibration], panel: Panel
) -> dict[str, Scored]:
    """All calibrated scores of a panel, by name."""
    references = {name: calibration.reference for name, calibration in calibrations.items()}
    own = all_scores(model, references, panel.test.x)
    others = {
        other: all_scores(model, references, split.x) for other, split in panel.others.items()
    }
    return {
        name: Scored(own[name], {other: scores[name] for other, scores in others.items()})
        for name in references
    }


def screening(
    calibrations: dict[str, Calibration], scores: dict[str, Scored], panel: Panel
) -> dict[str, float]:
    """False alarms on the test split, and how well each score ranks other data sets above it.

    File size and brightness need no model; a score that does not beat them has learned little.
    """
    figures: dict[str, float] = {}
    for name, calibration in calibrations.items():
        own = scores[name].own
        flagged = (calibration.p_value(own) <= ALPHA).double().mean()
        figures[f"test_false_alarm_rate_{name}_at_alpha_{ALPHA}"] = float(flagged)
        for other, strange in scores[name].others.items():
            caught = (calibration.p_value(strange) <= ALPHA).double().mean()
            figures[f"auroc_{name}_vs_{other}"] = _auroc(own, strange)
            figures[f"flagged_{name}_{other}_at_alpha_{ALPHA}"] = float(caught)
    if panel.test.x.ndim < 4:
        return figures
    for other, split in panel.others.items():
        figures[f"auroc_file_size_vs_{other}"] = _auroc(
            -torch.from_numpy(file_bytes(panel.test.x)), -torch.from_numpy(file_bytes(split.x))
        )
        figures[f"auroc_brightness_vs_{other}"] = _auroc(
            _brightness(panel.test.x), _brightness(split.x)
        )
    return figures


def conditional_samples(
    model: GenerativeModel, classifier: Classifier, per_class: int
) -> dict[str, float]:
    """How often the classifier sees, in a sample drawn for a class, that class."""
    operation: Any = model.operations()["sample"]
    label = torch.arange(model.num_classes).repeat_interleave(per_class)
    with torch.no_grad():
        x = run(
            operation,
            {"seed": row_seeds(2024, len(label)), "label": label},
            operation.default_params,
        )["x"]
        agrees = (classifier(x).argmax(1) == label).float()
    return {
        "conditional_sample_agreement_of_judge": float(agrees.mean()),
        "conditional_sample_agreement_worst_class": float(agrees.view(-1, per_class).mean(1).min()),
        "conditional_samples_judged": float(len(label)),
    }


@torch.no_grad()
def classifier_accuracy(classifier: Classifier, test: Split) -> dict[str, float]:
    """How often the classifier itself is right on the test split."""
    x = torch.from_numpy(test.x).split(500)
    seen = torch.cat([classifier(as_events(part.numpy())).argmax(1) for part in x])
    return {"judge_test_accuracy": float((seen == torch.from_numpy(test.y)).float().mean())}


def _auroc(own: Tensor, strange: Tensor) -> float:
    """Chance that a strange image scores above an own one; ties count half."""
    truth = np.concatenate([np.zeros(len(own)), np.ones(len(strange))])
    return float(roc_auc_score(truth, torch.cat([own, strange]).double().numpy()))


def _brightness(x: np.ndarray) -> Tensor:
    """Mean grey level. Shapes: uint8 (N, ...) -> (N,)."""
    return torch.from_numpy(x.reshape(len(x), -1).mean(1))
