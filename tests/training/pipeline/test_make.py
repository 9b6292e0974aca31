"""The whole command on a small real data set: from a recipe to a bundle that serves."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from models.core.bundle.bundle import Bundle, load
from models.core.bundle.onnx import OnnxFunction
from models.core.bundle.preprocess import Preprocessing
from tests.support.models.tiny import events
from tests.support.training.tiny import LIGHTNING, small_recipe
from training.cli.train import train
from training.data import splits
from training.data.readers import DataError
from training.data.sources import File
from training.fit.recipe import Recipe, Report
from training.measure.calibrate import columns, scores
from training.pipeline.make import make

pytestmark = LIGHTNING
SCORED = ("energy_typicality", "energy")
FILES = {
    *("bundle.json", "weights.safetensors", "calibration.safetensors", "README.md"),
    *("graphs/features.onnx", "graphs/logits.onnx", "graphs/energy_grad.onnx", "samples.png"),
    "report/training.png",
    *("report/trajectory.png", "report/histogram_energy.png"),
    "report/histogram_energy_typicality.png",
}


def digits(name: str) -> Recipe:
    """Twenty steps on scikit-learn's digits, with a hasty classifier; strangers are inverted."""
    config = replace(small_recipe(name).config, num_steps=3)
    report = Report(judge_steps=3, ais_chains=8, ais_steps=5)
    if name == "jem":
        ways: dict[str, dict[str, Any]] = {
            "short": {"num_steps": 1},
            "loud": {"num_steps": 1, "noise_scale": 0.5},
        }
        report = replace(report, compared_params=ways, num_compared=20)
    small = small_recipe(name, config=config, report=report)
    return replace(small, ood_scores=SCORED, ood_sets={"digits": True})


@pytest.fixture(scope="module", params=["jem", "ebm"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished bundle; the run is in the folder `runs` beside."""
    root = tmp_path_factory.mktemp(request.param)
    recipe = digits(request.param)
    folder = make("small", recipe, root / "runs", root, "python -m training small")
    assert folder == root / "small"
    return folder


def family_of(folder: Path) -> str:
    """Which family a made folder is of."""
    return str(json.loads((folder / "bundle.json").read_text())["family"])


@pytest.fixture
def bundle(made: Path) -> Bundle:
    """The bundle, as the service reads it."""
    return load(made)


def test_the_folder_is_complete(made: Path) -> None:
    found = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert found == FILES
    for name in FILES:
        if name.endswith(".png"):
            picture = Image.open(io.BytesIO((made / name).read_bytes()))
            assert min(picture.size) > 50
            low, high = picture.convert("L").getextrema()
            assert low != high, f"{name} shows nothing"


def test_the_bundle_says_what_it_is_and_how_it_was_made(bundle: Bundle) -> None:
    jem = bundle.family == "jem"
    assert bundle.class_names == (tuple("0123456789") if jem else ())
    assert bundle.config["event_shape"] == (1, 8, 8)
    assert bundle.config.get("num_classes") == (10 if jem else None)
    assert bundle.config["num_steps"] == 3
    assert tuple(bundle.calibrations) == SCORED
    assert bundle.calibration_source == "134 held-out images of digits"
    assert {len(c.scores) for c in bundle.calibrations.values()} == {134}
    assert bundle.preprocessing == Preprocessing(8, 8)
    expected = {"dataset", "dataset_name", "split", "command", "commit", "seed", "date", "torch"}
    assert set(bundle.provenance) == expected
    assert bundle.provenance["command"] == "python -m training small"
    assert all(bundle.provenance.values())


def test_the_figures_are_those_of_the_bundle_itself(bundle: Bundle) -> None:
    """Of the rounded weights that are served, on the test split: measured again from the file."""
    model, test = bundle.build(), splits.load("digits", height=8, width=8).splits["test"]
    metrics = bundle.metrics
    assert metrics["num_test_images"] == len(test)
    assert metrics["num_restarts"] == 0
    for name, calibration in bundle.calibrations.items():
        own = scores(model, name, test.x, calibration.reference)
        rate = float((calibration.p_value(own) <= 0.05).double().mean())
        assert metrics[f"test_false_alarm_rate_{name}_at_alpha_0.05"] == pytest.approx(rate)
        assert 0 <= metrics[f"auroc_{name}_vs_digits"] <= 1
    log_likelihood = model.operations()["log_likelihood"]
    assert len(log_likelihood.examples) == 2, "log Z is known"
    assert metrics["log_z_nats"] == pytest.approx(float(model.log_z))  # type: ignore[arg-type]
    assert metrics["ais_chains"] == 8
    if model.num_classes:
        y = torch.from_numpy(test.y)
        right = columns(model, "classify", test.x)["probabilities"].argmax(1) == y
        assert metrics["test_accuracy"] == pytest.approx(float(right.float().mean()))
        assert metrics["conditional_samples_judged"] == 200
        assert 0 < metrics["feature_fid_short_20"] != metrics["feature_fid_loud_20"]
        assert metrics["feature_fid_train_20"] < metrics["feature_fid_loud_20"]
    else:
        assert not [key for key in metrics if "accuracy" in key or "judge" in key]


def test_the_graphs_beside_the_weights_are_their_functions(bundle: Bundle) -> None:
    model = bundle.build()
    x = events(5, model.event_shape)
    expected = model.graphs()["logits"].function(x)
    for found, other in zip(OnnxFunction(bundle.graphs["logits"], 1)(x), expected, strict=True):
        torch.testing.assert_close(found, other, atol=1e-5, rtol=1e-5)


def test_chains_were_kept(bundle: Bundle) -> None:
    labels = bundle.weights["chain_label"].tolist()
    assert len(labels) == 8
    assert bundle.weights["chains"].dtype == torch.uint8
    assert bool(bundle.weights["chains"].any())


def test_the_card_tells_the_figures_and_the_data(made: Path, bundle: Bundle) -> None:
    card = (made / "README.md").read_text()
    assert card.startswith("# small\n")
    for name in (*bundle.metrics, *bundle.provenance, "134 calibration", "unnormalised"):
        assert name in card
    assert "](samples.png)" in card
    for link in ("report/trajectory.png", "report/histogram_energy_typicality.png"):
        assert f"]({link})" in card


def test_other_settings_need_another_run(made: Path) -> None:
    recipe, root = digits(family_of(made)), made.parent
    settings = {**recipe.objective_settings, "l2": 0.2}
    for other in (replace(recipe, seed=1), replace(recipe, objective_settings=settings)):
        with pytest.raises(ValueError, match="run with other settings"):
            make("small", other, root / "runs", root, "")


def test_params_that_would_be_refused_at_the_end_are_refused_at_once(tmp_path: Path) -> None:
    for ways in ({"a": {"num_stepps": 2}}, {"a": {"num_steps": 0}}, {"a": {"start": "data"}}):
        recipe = replace(digits("ebm"), report=Report(compared_params=ways))
        with pytest.raises(ValueError, match=r"num_stepps|greater than|images or arrays"):
            make("small", recipe, tmp_path, tmp_path, "")
    recipe = replace(digits("ebm"), report=Report(rated_params={"": {"few": 1}}))
    with pytest.raises(ValueError, match="accepted are"):
        make("small", recipe, tmp_path, tmp_path, "")
    assert not list(tmp_path.iterdir())


def test_made_again_from_the_same_run_it_is_the_same(made: Path, tmp_path: Path) -> None:
    recipe = replace(digits(family_of(made)), ood_sets={})
    again = load(make("small", recipe, made.parent / "runs", tmp_path, "again"))
    first = load(made)
    for name, weight in first.weights.items():
        assert torch.equal(again.weights[name], weight), name
    assert again.metrics.items() <= first.metrics.items()


def test_a_set_that_only_the_report_needs_is_left_out_by_name(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the finished run, so that only what comes after training is done again."""

    def absent(file: File) -> Path:
        raise DataError(f"{file.path} is missing")

    monkeypatch.setattr(splits, "fetch", absent)
    recipe = replace(digits(family_of(made)), ood_sets={"mnist": False, "digits": True})
    folder = make("small", recipe, made.parent / "runs", tmp_path, "again")
    assert "Left out, since they could not be had: mnist." in (folder / "README.md").read_text()
    metrics = load(folder).metrics
    assert "auroc_energy_vs_digits" in metrics
    assert "auroc_energy_vs_mnist" not in metrics
    misspelt = replace(recipe, ood_sets={"mnits": False})
    with pytest.raises(DataError, match="mnits is neither"):
        make("other", misspelt, tmp_path / "runs", tmp_path, "")
    assert not (tmp_path / "runs").exists(), "before any training"


@pytest.mark.parametrize(
    ("settings", "name"),
    [(["nonsense=1"], "ebm_mnist"), (["seed"], "ebm_mnist"), ([], "no_such_recipe")],
)
def test_a_wrong_command_ends_with_a_message(
    settings: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended:
        train(name, settings, out=tmp_path, runs=tmp_path, name="")
    assert ended.value.exit_code == 1
    assert "ValueError" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
