"""A bundle is written whole or not at all, and read back as it was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from models.core.bundle.bundle import BundleError, halved, load, save
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration
from tests.support.models.bundles import small_bundle


def test_what_is_saved_is_loaded(folder: Path) -> None:
    bundle, found = small_bundle(), load(folder)
    assert list(found.calibrations) == ["energy_typicality", "energy"], "the first is the default"
    assert found.calibrations["energy_typicality"].reference == 1.5
    for name, calibration in found.calibrations.items():
        assert bool((calibration.scores.diff() >= 0).all())
        assert len(calibration.scores) == len(bundle.calibrations[name].scores)
    assert found.weights.keys() == bundle.weights.keys()
    for name, weight in bundle.weights.items():
        torch.testing.assert_close(found.weights[name], weight, rtol=0, atol=0, equal_nan=True)
    same = ("name", "family", "config", "preprocessing", "class_names", "calibration_source")
    for field in (*same, "metrics", "provenance", "graphs"):
        assert getattr(found, field) == getattr(bundle, field), field
    assert isinstance(found.config["channels"], tuple), "JSON has lists, a Config tuples"
    assert (folder / "report" / "a.png").read_bytes() == b"picture"
    assert (folder / "README.md").read_bytes() == b"#"
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]
    assert (folder.stat().st_mode & 0o777) == 0o755


def test_all_of_a_calibration_is_kept_in_the_order_of_its_scores(tmp_path: Path) -> None:
    scores, z = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([[3.0, 0], [1, 0], [2, 0]])
    reference = torch.tensor([0.25, -7.0])
    calibration = Calibration.fit(scores, reference, z, torch.tensor([30, 10, 20]))
    bundle = small_bundle(calibrations={"energy": calibration})
    found = load(save(bundle, tmp_path / "tiny")).calibrations["energy"]
    assert found.scores.tolist() == [1, 2, 3]
    assert found.z is not None
    assert found.category is not None
    assert found.z[:, 0].tolist() == [1, 2, 3]
    assert found.category.tolist() == [10, 20, 30]
    assert isinstance(found.reference, torch.Tensor)
    assert torch.equal(found.reference, reference)


def test_only_safetensors_json_and_onnx_are_written(folder: Path) -> None:
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    own = {"bundle.json", "weights.safetensors", "calibration.safetensors", "graphs/logits.onnx"}
    assert names == own | {"report/a.png", "README.md"}
    assert set(json.loads((folder / "bundle.json").read_text())["files_sha256"]) == own - {
        "bundle.json"
    }


def test_halved_keeps_small_tensors_and_integers() -> None:
    """Statistics of a table reach 1e6 and need their digits; halving a few saves nothing."""
    weights = {
        "w": torch.full((16, 16), 1 / 3),
        "mean": torch.full((255,), 1e6),
        "log_z": torch.tensor(1e6),
        "n": torch.arange(300),
    }
    kept = halved(weights)
    types = [torch.float16, torch.float32, torch.float32, torch.int64]
    assert [w.dtype for w in kept.values()] == types
    assert kept["log_z"] == 1e6
    assert {name: w.shape for name, w in kept.items()} == {n: w.shape for n, w in weights.items()}


def test_the_version_names_the_content(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = small_bundle()
    weights = {**bundle.weights, "log_z": torch.tensor(4.0)}
    scores = {"energy": Calibration.fit(torch.arange(30.0))}
    others: list[dict[str, Any]] = [
        {"weights": weights},
        {"graphs": {}},
        {"calibrations": scores},
        {"metrics": {}},
        {"class_names": ("a", "b", "d")},
        {"preprocessing": Preprocessing(8, 8)},
    ]
    versions = [load(save(bundle, tmp_path / "a")).version, load(tmp_path / "a").version]
    versions += [load(save(bundle, tmp_path / "elsewhere")).version]
    assert len(set(versions)) == 1
    for i, change in enumerate(others):
        versions.append(load(save(replace(bundle, **change), tmp_path / str(i))).version)
    assert len(set(versions)) == 1 + len(others)
    assert all(len(v) == 12 for v in versions)


def test_a_built_model_is_ready_to_serve(folder: Path) -> None:
    model = load(folder).build()
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert {w.dtype for w in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["", "a b", "../up", "a/b", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="accepted are letters"):
        save(small_bundle(name=name), tmp_path / "tiny")
    assert not list(tmp_path.iterdir())


FAILURES: list[tuple[dict[str, Any], dict[str, bytes]]] = [
    ({"metrics": {"x": float("nan")}}, {}),  # found before anything is written
    ({}, {"bundle.json/below": b""}),  # found in the midst of writing: a file is no folder
]


@pytest.mark.parametrize(("changes", "extras"), FAILURES)
def test_a_failure_midway_leaves_the_old_bundle_and_no_litter(
    folder: Path, changes: dict[str, Any], extras: dict[str, bytes]
) -> None:
    version = load(folder).version
    bundle = small_bundle(provenance={"date": "later"}, **changes)
    with pytest.raises((ValueError, OSError)):
        save(bundle, folder, extras)
    assert load(folder).version == version
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_new_bundle_replaces_the_old_one_whole(folder: Path) -> None:
    save(small_bundle(graphs={}, provenance={}), folder)
    assert load(folder).graphs == {}
    assert not (folder / "graphs").exists()
    assert not (folder / "report").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_bundle_may_lie_in_an_object_store(folder: Path) -> None:
    store = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe(f"/shelf/tiny/{path.relative_to(folder).as_posix()}", path.read_bytes())
    try:
        assert load("memory://shelf/tiny/").version == load(folder).version
        with pytest.raises(BundleError, match=r"bundle\.json cannot be read"):
            load("memory://shelf/other")
    finally:
        store.rm("/shelf", recursive=True)


@pytest.mark.parametrize("url", ["no-such-folder", "nonsense://shelf/tiny"])
def test_a_place_that_does_not_exist_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(BundleError, match=r"bundle\.json cannot be read"):
        load(url if "://" in url else tmp_path / url)
