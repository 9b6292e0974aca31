"""A screen from recipes alone, on a small real data set: parts trained, fitted, kept, measured."""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.core.bundle import onnx
from models.core.bundle.bundle import Bundle, halved, load, save
from models.core.bundle.onnx import OnnxFunction, served
from models.core.bundle.preprocess import Preprocessing
from models.core.screen.config import Component
from tests.support.training.tiny import LIGHTNING, new_model, small_recipe
from training.data import splits
from training.pipeline.make_screen import halves, make_screen, screened
from training.pipeline.screen_recipe import ScreenRecipe

pytestmark = LIGHTNING
SMALL = ScreenRecipe(
    parts={"classifier": "small"},
    components=(
        Component(score="energy", part="classifier"),
        Component(score="feature_residual", part="classifier"),
    ),
    classifier="classifier",
    screens=("digits",),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs and bundles go; the only recipe is a small one."""
    for module in ("make_screen", "screen_recipe"):
        recipes = {"small": small_recipe("jem")}
        monkeypatch.setattr(f"training.pipeline.{module}.recipe", recipes.__getitem__)
    return tmp_path


def made(folder: Path, recipe: ScreenRecipe = SMALL, name: str = "screen_small") -> Bundle:
    """The bundle of a screen, as the service reads it."""
    out = make_screen(name, recipe, folder / "runs", folder, "python -m training small")
    return load(out)


def test_a_screen_is_whole_and_keeps_its_promise_on_images_it_never_met(folder: Path) -> None:
    bundle = made(folder)
    digits = splits.load("digits", height=8, width=8).splits
    first, second = halves(digits["validation"].x, digits["calibration"].x)
    assert bundle.kind == "screen"
    assert bundle.calibrations["screen"].num == len(second)
    assert f"{len(second):,} held-out images" in bundle.calibration_source
    assert bundle.config["num_fitted"] == len(first)
    assert tuple(bundle.config["screens"]) == ("digits",)
    assert len(bundle.class_names) == bundle.config["num_classes"] == 10
    assert set(bundle.graphs) == {"classifier.features"}
    assert bundle.provenance["command"] == "python -m training small"
    assert "feature_residual" in (folder / "screen_small" / "README.md").read_text()
    p_value = bundle.calibrations["screen"].p_value(
        screened(served(bundle), digits["test"].x)["score"]
    )
    assert bundle.metrics["num_test_images"] == len(digits["test"])
    for alpha in (0.05, 0.01):
        rate = bundle.metrics[f"test_false_alarm_rate_screen_at_alpha_{alpha:g}"]
        assert rate == pytest.approx(float((p_value <= alpha).double().mean()))
        assert rate <= 2 * alpha + 0.02


def test_it_is_calibrated_by_the_runtime_that_will_serve_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Counted(OnnxFunction):
        def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
            seen.append(len(tensors[0]))
            return super().__call__(*tensors)

    monkeypatch.setattr(onnx, "OnnxFunction", Counted)
    made(folder)
    digits = splits.load("digits", height=8, width=8).splits
    held_out = [len(digits[name]) for name in ("validation", "calibration", "test")]
    assert sum(seen) >= sum(held_out)


def test_a_seed_trains_other_parts_beside_the_first(folder: Path) -> None:
    first = made(folder)
    again = made(folder, name="again")
    other = made(folder, replace(SMALL, seed=1), "other")
    assert {p.name for p in (folder / "runs").iterdir()} == {"small", "small-seed-1"}
    same = partial(torch.testing.assert_close, rtol=0, atol=0, equal_nan=True)
    same(dict(again.weights), dict(first.weights), msg="a finished run is taken as it is")
    name = next(n for n in first.weights if n.startswith("parts.") and first.weights[n].dim() == 4)
    assert not torch.equal(other.weights[name], first.weights[name])


def test_a_bundle_that_is_there_is_a_part_unless_a_seed_asks_for_another(folder: Path) -> None:
    model = new_model("jem", num_classes=10)
    bundle = Bundle(
        name="small",
        family="jem",
        config=asdict(model.config),
        weights=halved(model.state_dict()),
        preprocessing=Preprocessing(8, 8),
    )
    save(bundle, folder / "small")
    found = made(folder)
    assert found.config["parts"][0]["source"] == f"small@{load(folder / 'small').version}"
    assert not (folder / "runs").exists()
    for name, weight in bundle.weights.items():
        held = found.weights[f"parts.classifier.{name}"]
        torch.testing.assert_close(held, weight, rtol=0, atol=0, equal_nan=True)
    seeded = made(folder, replace(SMALL, seed=2), "seeded")
    assert seeded.config["parts"][0]["source"] == "small"
    assert (folder / "runs" / "small-seed-2").exists()
