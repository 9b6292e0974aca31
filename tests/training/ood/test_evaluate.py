"""An evaluation counts what its bundle says, and the report says what was counted."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from models.core.contract.model import Servable
from tests.support.training.ood_bundles import digits, plain_bundle, write_pictures
from training.data.readers import DataError
from training.data.sources import File
from training.measure.calibrate import columns, scores
from training.ood import panel
from training.ood.decisions import Answers, decide
from training.ood.evaluate import evaluate, num_sets
from training.ood.evaluation import Evaluation, Rate, Shown
from training.ood.figures import pictures
from training.ood.panel import dataset_of
from training.ood.report import files
from training.ood.sections import guarantee

NUM = 60
Found = tuple[Evaluation, dict[str, Shown]]
COMMAND = "python -m training evaluate-ood tiny --folder 'a|b <c>=d'"


def _absent(file: File) -> Path:
    raise DataError(f"{file.path} is missing")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Of a plain bundle, on a machine that has no other data than a folder."""
    folder = tmp_path_factory.mktemp("bright")
    write_pictures(folder, np.full((7, 1, 8, 8), 250, np.uint8))
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panel, "fetch", _absent)
        result = evaluate(
            plain_bundle(),
            "digits",
            limit=NUM,
            folders={"bright": folder},
            command=COMMAND,
            advance=told.append,
        )
        assert len(told) == num_sets("digits", plain_bundle(), {"bright": folder})
    return result


def model() -> Servable:
    """That of the plain bundle."""
    return plain_bundle().build()


def own_scores() -> np.ndarray:
    """Of the first test images, computed apart from all that is tested here."""
    return scores(model(), "energy", digits().splits["test"].x).numpy()


def test_false_alarms_are_those_of_the_p_values(
    found: Found,
) -> None:
    evaluation, _ = found
    known = plain_bundle().calibrations["energy"].scores.numpy()
    y = digits().splits["test"].y
    p_value = np.array([(1 + (known >= s).sum()) / (1 + len(known)) for s in own_scores()])
    for alpha in (0.05, 0.01):
        rate = evaluation.false_alarms[str(alpha)]
        assert (rate.count, rate.num) == ((p_value <= alpha).sum(), len(y))
        classes = evaluation.false_alarms_by_class
        assert sum(rates[str(alpha)].count for rates in classes.values()) == rate.count
        assert [rates[str(alpha)].num for rates in classes.values()] == list(np.bincount(y))
    truth = np.repeat([0, 1], [len(known), len(y)])
    assert evaluation.auroc_test_against_calibration == pytest.approx(
        roc_auc_score(truth, np.concatenate([known, own_scores()]))
    )


def test_a_row_is_about_its_images(found: Found) -> None:
    evaluation, _ = found
    every = digits().splits["test"].x
    x = every[:NUM]
    truth = np.repeat([0, 1], [len(every), NUM])
    for name, probe in (("own-inverted", 255 - x), ("own-vflip", x[:, :, ::-1].copy())):
        (row,) = (row for row in evaluation.rows if row.name == name)
        strange = scores(model(), "energy", probe).numpy()
        expected = roc_auc_score(truth, np.concatenate([own_scores(), strange]))
        assert row.caught is not None
        assert row.caught.auroc == pytest.approx(expected)
        assert row.caught.auroc_low <= expected <= row.caught.auroc_high
        assert row.caught.auroc_by_score["energy"] == row.caught.auroc
        p_value = plain_bundle().calibrations["energy"].p_value
        p = p_value(scores(model(), "energy", probe)).numpy()
        assert row.flagged["0.05"].count == (p <= 0.05).sum()
        brightness = np.concatenate([one.reshape(len(one), -1).mean(1) for one in (every, probe)])
        by_trivial = row.caught.auroc_by_trivial_score
        assert by_trivial["bright"] == pytest.approx(roc_auc_score(truth, brightness))
        assert row.caught.gain == pytest.approx(expected - max(by_trivial.values()))


def test_benign_images_need_not_be_caught(found: Found) -> None:
    evaluation, _ = found
    assert len(evaluation.of_part("benign")) == 4
    for row in evaluation.rows:
        assert (row.caught is None) == (row.part == "benign")
    assert evaluation.worst is not None
    assert evaluation.worst.caught is not None
    aurocs = [row.caught.auroc for row in evaluation.rows if row.caught]
    assert evaluation.worst.caught.auroc == min(aurocs)


def test_what_cannot_be_had_is_named(found: Found) -> None:
    evaluation, shown = found
    assert evaluation.unavailable["mnist"].startswith("mnist/")
    assert {"omniglot", "cifar10", "fraktur-glyphs"} <= set(evaluation.unavailable)
    names = [row.name for row in evaluation.rows]
    assert names[-1] == "bright"
    assert evaluation.rows[-1].num_images == 7
    assert set(shown) == {"digits", *names}


@pytest.mark.parametrize(
    ("gain", "error", "is_gain"), [(0.1, 0.04, True), (0.1, 0.06, False), (0, 0, False)]
)
def test_a_gain_is_more_than_two_standard_errors(
    gain: float, error: float, is_gain: bool, found: Found
) -> None:
    caught = found[0].rows[0].caught
    assert caught is not None
    assert replace(caught, gain=gain, gain_standard_error=error).is_gain is is_gain


def test_a_rate_knows_its_interval() -> None:
    rate = Rate.of(np.arange(10) < 1)
    assert (rate.count, rate.num, rate.rate) == (1, 10, 0.1)
    assert (rate.low, rate.high) == pytest.approx((0.0025, 0.4450), abs=5e-5)


class Tables(HTMLParser):
    """Counts what is opened and closed, and collects what is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.num_rows = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "img", "wbr"):
            self.sources += [value or "" for name, value in attrs if name == "src"]
        else:
            self.open.append(tag)
            self.num_rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_says_what_was_counted(found: Found) -> None:
    evaluation, _ = found
    markdown = files(evaluation, {})["ood.md"].decode()
    alarms = evaluation.false_alarms["0.05"]
    assert COMMAND in markdown
    assert f"{alarms.rate:.4f} were flagged" in markdown
    assert "images, disjoint from calibration" in markdown
    for row in evaluation.rows:
        assert f"| {row.name} " in markdown
        assert row.about in markdown
        if row.caught:
            assert f"{row.caught.auroc:.3f} ({row.caught.auroc_low:.3f}" in markdown
    for line in markdown.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")
    tables = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table


def test_the_page_needs_no_other_file(found: Found) -> None:
    evaluation, shown = found
    few = replace(
        evaluation, rows=tuple(r for r in evaluation.rows if r.name in ("black", "bright"))
    )
    drawn = pictures(few, shown)
    page = files(evaluation, drawn)["ood.html"].decode()
    assert all(f"]({name})" in files(few, drawn)["ood.md"].decode() for name in drawn)
    parsed = Tables()
    parsed.feed(page)
    assert parsed.open == []
    assert parsed.num_rows > 3 * len(evaluation.rows)
    assert "<c>" not in page
    assert len(parsed.sources) == 3
    for source in parsed.sources:
        head, code = source.split(",")
        assert head == "data:image/png;base64"
        Image.open(io.BytesIO(base64.b64decode(code))).load()


def test_the_figures_are_there_for_machines(found: Found) -> None:
    evaluation, _ = found
    read = json.loads(files(evaluation, {})["ood.json"])
    assert read["false_alarms"]["0.05"]["count"] == evaluation.false_alarms["0.05"].count
    assert [row["name"] for row in read["rows"]] == [row.name for row in evaluation.rows]


def test_only_held_out_images_are_called_disjoint(
    found: Found,
) -> None:
    evaluation, _ = found
    bound = evaluation.rate_bounds["0.05"]
    assert f"below {bound:.4f} with 95 % confidence" in guarantee(evaluation)
    other = replace(evaluation, calibration_source="500 images of the folder mine")
    assert "disjoint" not in guarantee(other)


def test_a_bundle_says_what_it_was_trained_on() -> None:
    assert dataset_of(plain_bundle()) == "digits"
    named = plain_bundle(provenance={"dataset_name": "mnist", "dataset": "something"})
    assert dataset_of(named) == "mnist"
    with pytest.raises(DataError, match="--data"):
        dataset_of(plain_bundle(provenance={}))
    with pytest.raises(DataError, match="not seen"):
        dataset_of(plain_bundle(provenance={"dataset_name": "mnist", "recalibrated_from": "a@b"}))


def test_answers_are_decided_in_mixtures_of_as_many_own_images_as_others(found: Found) -> None:
    evaluation, _ = found
    assert set(evaluation.decisions) == {row.name for row in evaluation.rows if row.caught}
    test, bundle = digits().splits["test"], plain_bundle()
    said = columns(model(), "classify", test.x[:NUM])["probabilities"].max(1)
    p_value = bundle.calibrations["energy"].p_value(torch.from_numpy(own_scores()))
    own = Answers(said.values.numpy(), said.indices.numpy() == test.y[:NUM], p_value.numpy())
    bright = np.full((7, 1, 8, 8), 250, np.uint8)
    confidence = columns(model(), "classify", bright)["probabilities"].max(1).values
    other = bundle.calibrations["energy"].p_value(scores(model(), "energy", bright))
    mixed = Answers(own.confidence[:7], own.right[:7], own.p_value[:7]) + Answers(
        confidence.numpy(), np.zeros(7, bool), other.numpy()
    )
    assert evaluation.decisions["bright"] == decide(mixed, 0.05)
