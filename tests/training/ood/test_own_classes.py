"""What `--data` names is compared class by class by name, and counted as the part that it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.core.bundle.bundle import Bundle
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.data.readers import DataError
from training.data.sources import File
from training.ood import panel
from training.ood.evaluate import evaluate
from training.ood.evaluation import Evaluation
from training.ood.probes import PROBES
from training.ood.report import files
from training.ood.scorer import Scorer
from training.ood.sections import guarantee


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One probe, and no other data set."""

    def absent(file: File) -> Path:
        raise DataError(f"{file.path} is missing")

    monkeypatch.setattr(panel, "fetch", absent)
    monkeypatch.setattr(panel, "PROBES", PROBES[4:5])


def bundle() -> Bundle:
    """It says as many classes as it has logits, by names that sort in another order."""
    tiny = plain_bundle()
    said = Scorer(tiny)(digits().splits["test"].x[:2]).said
    assert said is not None
    num = tiny.config["num_classes"]
    return replace(tiny, class_names=tuple(f"class {num - i}" for i in range(num)))


def folder_of_what_is_said(path: Path, names: dict[int, str]) -> Path:
    """Pictures in folders named for what the bundle says of them: each answer is right."""
    x = digits().splits["train"].x[:300]
    said = Scorer(bundle())(x).said
    assert said is not None
    for label in np.unique(said):
        write_pictures(path / "own" / names[int(label)], x[said == label])
    return path / "own"


def evaluated(folder: Path) -> Evaluation:
    """The figures with the folder as own data."""
    found, _ = evaluate(bundle(), str(folder), limit=20, folders={}, command="evaluate")
    return found


def test_classes_are_compared_by_name(tmp_path: Path) -> None:
    names = dict(enumerate(bundle().class_names))
    scorer = Scorer(bundle())
    found = evaluated(folder_of_what_is_said(tmp_path, names))
    decided = found.decisions["black"]
    own = panel.OwnData(str(tmp_path / "own"), scorer.form).split("test", 0)
    confidence = scorer(own.x).confidence
    assert confidence is not None
    sure = float((confidence[: decided.num // 2] >= 0.9).mean()) / 2
    assert decided.right_and_certain_before == pytest.approx(sure)
    assert decided.aurc_softmax < 1
    assert not found.classes_unknown


def test_classes_of_other_names_are_not_judged(tmp_path: Path) -> None:
    names = {i: f"other {i}" for i in range(bundle().config["num_classes"])}
    found = evaluated(folder_of_what_is_said(tmp_path, names))
    assert found.classes_unknown
    assert not found.decisions
    assert "classes of own have none of the bundle's names" in files(found, {})["ood.md"].decode()


def test_the_figure_says_of_how_many_pictures_it_is(tmp_path: Path) -> None:
    names = dict(enumerate(bundle().class_names))
    found = evaluated(folder_of_what_is_said(tmp_path, names))
    num = found.false_alarms["0.05"].num
    assert num <= 45
    assert f"({num} images of its 300; --data uses no others" in guarantee(found)
