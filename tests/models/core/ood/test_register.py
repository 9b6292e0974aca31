"""The register of scores: each belongs to an operation, says what it is, and points the way."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import load, save
from models.core.calibration.conformal import Calibration
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows
from models.core.ood.register import SCORES, Score
from tests.support.models.bundles import small_bundle
from tests.support.models.cases import SUBJECTS, Case, model_of, rows_at

OF_FAMILIES = sorted(set(SCORES) - {"screen"})
"""A screen is no family: what it answers is tested where it is made."""
every_score = pytest.mark.parametrize("name", OF_FAMILIES)


def operations(name: str) -> Iterator[tuple[str, Operation[Any]]]:
    """The subjects that have this operation."""
    for subject in SUBJECTS:
        if name in (found := model_of(subject).operations()):
            yield subject, found[name]


def columns(score: Score, num: int, seed: int = 0) -> Rows:
    """Of random events to the quickest subject; the background sees other events."""
    subject, operation = min(
        operations(score.operation), key=lambda pair: pair[1].num_steps(pair[1].default_params)
    )
    case = Case(subject, score.operation, operation.default_params)
    rows = case.run(case.inputs(num, seed))
    if score.needs_background:
        other = case.run(case.inputs(num, seed + 1))
        rows |= {f"background_{column}": other[column] for column in score.columns}
    return rows


@every_score
def test_all_models_that_have_the_operation_promise_the_columns(name: str) -> None:
    score = SCORES[name]
    found = list(operations(score.operation))
    assert found
    for subject, operation in found:
        assert set(score.columns) <= set(operation.outputs), subject


def test_a_score_has_a_unit_and_tells_its_source() -> None:
    for name, score in SCORES.items():
        assert score.unit, name
        assert score.description.endswith("."), name
        is_baseline_or_variant = name in ("entropy", "grad_norm_typicality")
        assert re.search(r"\b(19|20)\d\d\b", score.description) or is_baseline_or_variant, name


@every_score
def test_a_score_is_one_number_a_row_that_no_other_row_changes(name: str) -> None:
    score = SCORES[name]
    reference = score.fitted(columns(score, 40, seed=7))
    rows = columns(score, 5)
    found = score.compute(rows, reference)
    assert found.shape == (5,)
    assert found.dtype == torch.float32
    assert bool(found.isfinite().all())
    # Short codes have few lengths, so that their ratios tie.
    assert len(set(found.tolist())) == 5 or (name == "scale_ratio" and len(set(found.tolist())) > 1)
    order = torch.tensor([4, 1, 1, 0])
    assert torch.equal(score.compute(rows_at(rows, order), reference), found[order])


@every_score
def test_a_fit_survives_the_bundle(name: str, tmp_path: Path) -> None:
    score = SCORES[name]
    reference = score.fitted(columns(score, 40, seed=7))
    calibration = Calibration.fit(score.compute(columns(score, 20), reference), reference)
    path = save(small_bundle(calibrations={name: calibration}), tmp_path / "tiny")
    found = load(path).calibrations[name]
    rows = columns(score, 5)
    expected = score.compute(rows, reference)
    assert torch.equal(score.compute(rows, found.reference), expected)
    assert torch.equal(found.p_value(expected), calibration.p_value(expected))


NATS = torch.tensor([-1.0, 2.0, 10.0])
LOGITS = torch.tensor([[9.0, 0, 0], [2, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("name", "rows", "reference", "expected"),
    [
        ("nll", {"log_prob": -NATS}, 0.0, [-1, 2, 10]),
        ("typicality", {"log_prob": -NATS}, -2.0, [3, 0, 8]),
        ("energy", {"energy": NATS}, 0.0, [-1, 2, 10]),
        ("energy_typicality", {"energy": NATS}, 2.0, [3, 0, 8]),
        ("grad_norm", {"grad_norm": NATS + 1}, 0.0, [0, 3, 11]),
        # 10 nats are 14.43 bits: what the code takes off is in bits already.
        ("ic", {"log_prob": -NATS, "code_bits": torch.tensor([1.0, 0, 4])}, 0.0, None),
        ("llr_local", {"log_prob": -NATS, "background_log_prob": 0 * NATS}, 0.0, None),
    ],
)
def test_scores_of_one_number_are_that_number(
    name: str, rows: dict[str, Tensor], reference: float, expected: list[float] | None
) -> None:
    bits = [value / 0.6931471805599453 for value in NATS.tolist()]
    if name == "ic":
        expected = [bits[0] - 1, bits[1], bits[2] - 4]
    elif name == "llr_local":
        expected = bits
    found = SCORES[name].compute(rows, reference)
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["max_softmax", "entropy"])
def test_a_classifier_in_doubt_is_stranger(name: str) -> None:
    found = SCORES[name].compute({"logits": LOGITS}, 0.0)
    assert bool((found.diff() > 0).all())
