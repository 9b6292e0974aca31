"""What was asked of an evaluation is refused or done, and what was promised is judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.training.ood_bundles import plain_bundle, write_pictures
from training.data.readers import DataError
from training.data.sources import File
from training.ood import panel
from training.ood.evaluate import evaluate
from training.ood.evaluation import Rate
from training.ood.sections import guarantee

NUM = 20


def _absent(file: File) -> Path:
    raise DataError(f"{file.path} is missing")


def test_a_folder_that_cannot_be_measured_is_refused_before_anything_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "fetch", _absent)
    white = np.full((2, 1, 8, 8), 255, np.uint8)
    for name in ("black", "broken"):
        write_pictures(tmp_path / name, white)
    (tmp_path / "broken" / "001.png").write_bytes(b"no picture")
    (tmp_path / "empty").mkdir()
    for name, says in (
        ("black", "there is a set of that name"),
        ("broken", "001.png"),
        ("empty", "holds no pictures"),
        ("gone", "gone"),
    ):
        told: list[str] = []
        with pytest.raises(DataError, match=says):
            evaluate(
                plain_bundle(),
                "digits",
                limit=NUM,
                folders={name: tmp_path / name},
                command="evaluate",
                advance=told.append,
            )
        assert told == ["digits: reading"]


def test_what_was_seen_beside_what_was_promised_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "fetch", _absent)
    evaluation, _ = evaluate(plain_bundle(), "digits", limit=NUM, folders={}, command="evaluate")
    bound = evaluation.rate_bounds["0.05"]
    for low, says in (
        (0.01, ""),
        (0.051, "That is more than 0.05, as one"),
        (bound + 0.001, "That is more than this calibration set allows"),
    ):
        rate = Rate(10, 100, 0.1, low, 0.2)
        text = guarantee(replace(evaluation, false_alarms={"0.05": rate}))
        assert says in text
        assert ("That is more" in text) == bool(says)
