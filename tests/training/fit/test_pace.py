"""After a minute of every phase a training says how long the rest will take."""

import logging
from dataclasses import dataclass

import pytest

from tests.support.training.tiny import blobs, new_model
from training.fit.contrastive import Contrastive
from training.fit.trainer import _Pace


@dataclass
class Steps:
    """What a callback sees of a trainer."""

    global_step: int = 0


def test_each_phase_is_estimated_by_its_own_pace(caplog: pytest.LogCaptureFixture) -> None:
    objective = Contrastive(
        new_model("jem"), blobs(40), 0, classifier_steps=300, contrastive_steps=600, buffer_size=16
    )
    now = 0.0
    pace, trainer = _Pace(objective, lambda: now), Steps()
    with caplog.at_level(logging.INFO):
        for step in range(1, 900):
            now += 1 if step <= 300 else 3
            trainer.global_step = step
            pace.on_train_batch_end(trainer, None)
    first, second = caplog.messages
    assert first.startswith("4 more minutes to step 300")
    assert "600 slower steps follow" in first
    assert second == "29 more minutes to step 900, at this pace"
