"""The Frechet distance against closed forms, and a comparison of samplers that can go on."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction
from models.core.contract.columns import columns
from models.core.contract.graph import Graph
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import normal
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, num_rows
from tests.support.training.tiny import LIGHTNING, blobs
from training.data.batches import Batches
from training.measure import fid
from training.measure.classifier import Classifier, train_classifier
from training.measure.fid import _BATCH, feature_fids, features, frechet_distance, samples

pytestmark = LIGHTNING


def draws(num: int, dims: int, seed: int = 0) -> Tensor:
    """Standard normal in float64, with mean 0 and covariance 1 exactly."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, dims, generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T


def test_of_gaussians_it_is_the_closed_form() -> None:
    a, b = draws(50, 3), draws(70, 3, 1)
    # Diagonal covariances commute: |m - n|^2 + sum (s - r)^2.
    s, r = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([3.0, 0.0, 0.5]).double()
    m = torch.tensor([0.0, -1.0, 2.0]).double()
    expected = float(m.square().sum() + (s - r).square().sum())
    assert frechet_distance(a * s + m, b * r) == pytest.approx(expected, abs=1e-6)


def test_coupled_covariances_need_the_root_of_their_product() -> None:
    mix, other = draws(9, 3, 5)[:3] + torch.eye(3), draws(9, 3, 6)[:3] - torch.eye(3)
    a, b = draws(60, 3) @ mix.T, draws(60, 3, 1) @ other.T
    product = (mix @ mix.T) @ (other @ other.T)
    # The eigenvalues of a product of covariances are real and not negative.
    cross = float(torch.linalg.eigvals(product).real.clamp(min=0).sqrt().sum())
    traces = float((mix @ mix.T + other @ other.T).trace())
    assert frechet_distance(a, b) == pytest.approx(traces - 2 * cross, abs=1e-6)
    assert traces - 2 * cross > 0.1


def test_it_is_a_distance_that_no_rotation_changes() -> None:
    a, b = draws(40, 4) * 2 + 1, draws(40, 4, 1) * torch.tensor([1.0, 0.1, 3.0, 2.0])
    rotation, _ = torch.linalg.qr(draws(9, 4, 2)[:4] + torch.eye(4))
    here = frechet_distance(a, b)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(b, a) == pytest.approx(here)
    assert frechet_distance(a @ rotation + 7, b @ rotation + 7) == pytest.approx(here)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * here)
    assert frechet_distance(a[torch.randperm(40)], b) == pytest.approx(here)


def test_fewer_examples_than_features_are_no_trouble() -> None:
    a, b = draws(200, 64)[:10], draws(200, 64, 1)[:10] + 1
    assert math.isfinite(frechet_distance(a, b))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


@dataclass(frozen=True)
class PaintParams:
    """Grey of class k: level + k / 10; noise about it."""

    level: float = 0.3
    spread: float = 0.02


class Paint(Operation[PaintParams]):
    """Two steps to an evenly grey image, which counts what it has made."""

    Params = PaintParams
    needs_events = False
    takes_label = True
    outputs = columns(x=(1, 8, 8))

    def __init__(self) -> None:
        self.made: list[tuple[int, float]] = []

    def num_steps(self, params: PaintParams) -> int:
        return 2

    def init(self, inputs: Rows, params: PaintParams) -> Rows:
        self.made.append((num_rows(inputs), params.level))
        seed = inputs["seed"]
        noise = params.spread * normal(seed, torch.zeros_like(seed), (1, 8, 8))
        return {"x": noise + params.level + inputs["label"].view(-1, 1, 1, 1) / 10}

    def step(self, rows: Rows) -> Rows:
        return dict(rows)


class Painter(GenerativeModel):
    """A model whose samples have a known grey."""

    event_shape = (1, 8, 8)
    num_classes = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(3), requires_grad=False)
        self.paint = Paint()

    def loss(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        raise AssertionError("not trained")

    def operations(self) -> dict[str, Operation[Any]]:
        return {"sample": self.paint}


class Eye(Classifier):
    """Its features are the means of four quarters."""

    def __init__(self) -> None:
        super().__init__(1, 2, Batches(blobs(4), 4, seed=0), num_steps=1)

    def features(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, 4).flatten(1)


WAYS = {"near": {}, "far": {"level": 0.8}}


def test_every_sampler_has_a_figure_beside_the_floor(tmp_path: Path) -> None:
    model = Painter()
    splits = {"train": blobs(150), "test": blobs(120, 1)}
    found = feature_fids(model, Eye(), splits, WAYS, 130, tmp_path)
    assert list(found) == ["feature_fid_train_130", "feature_fid_near_130", "feature_fid_far_130"]
    assert 0 < found["feature_fid_train_130"] < found["feature_fid_near_130"]
    assert found["feature_fid_near_130"] < found["feature_fid_far_130"]
    test = features(Eye(), splits["test"].x)
    kept = np.load(tmp_path / "far.npz")
    assert kept["x"].shape == (130, 1, 8, 8)
    expected = frechet_distance(features(Eye(), kept["x"]), test)
    assert found["feature_fid_far_130"] == pytest.approx(expected)
    # Labels are those of the test split, begun anew at its end, and seeds are common to all.
    assert np.array_equal(kept["label"], np.concatenate([splits["test"].y, splits["test"].y[:10]]))
    near = np.load(tmp_path / "near.npz")["x"].astype(float)
    assert np.abs(kept["x"] - near - 127.5).max() <= 1
    assert feature_fids(model, Eye(), splits, {}, 130, tmp_path) == {}


def test_an_interrupted_comparison_goes_on_and_others_begin_anew(tmp_path: Path) -> None:
    label, path = torch.arange(250) % 2, tmp_path / "some" / "a.npz"
    whole = samples(Painter(), PaintParams(), label, tmp_path / "whole.npz", "")

    class CutOff(Paint):
        def init(self, inputs: Rows, params: PaintParams) -> Rows:
            if len(self.made) == 2:
                raise KeyboardInterrupt
            return super().init(inputs, params)

    model = Painter()
    model.paint = CutOff()
    with pytest.raises(KeyboardInterrupt):
        samples(model, PaintParams(), label, path, "")
    model.paint = Paint()
    assert np.array_equal(samples(model, PaintParams(), label, path, ""), whole)
    assert model.paint.made == [(250 - 2 * _BATCH, 0.3)]
    assert np.array_equal(samples(model, PaintParams(), label[:70], path, ""), whole[:70])
    assert len(model.paint.made) == 1
    for other in ("params", "weights", "labels"):
        model = Painter()
        if other == "weights":
            model.weight.add_(1)
        changed = PaintParams(0.5) if other == "params" else PaintParams()
        samples(model, changed, 1 - label if other == "labels" else label, path, "")
        assert sum(num for num, _ in model.paint.made) == 250, other


class Doubler(Painter):
    """Has one graph, which its sampler may call."""

    def graphs(self) -> dict[str, Graph]:
        example = (torch.zeros(2, 3),)
        return {"double": Graph(lambda x: (2 * x,), ("x",), ("y",), example)}


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_graphs_run_by_what_is_faster_and_by_torch_afterwards(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(function: Any, rows: tuple[Tensor, ...]) -> float:
        assert rows[0].shape == (_BATCH, 3)
        return float(isinstance(function, OnnxFunction) == (runtime == "torch"))

    monkeypatch.setattr(fid, "seconds_per_call", seconds)
    model = Doubler()
    model.paint.graphs = ("double",)
    with fid.fastest(model, model.paint):
        assert list(model._backends) == (["double"] if runtime == "onnx" else [])
        (y,) = model.compute("double", torch.ones(5, 3))
        assert torch.equal(y, torch.full((5, 3), 2.0))
    assert not model._backends


def test_a_classifier_is_the_same_whatever_came_before(tmp_path: Path) -> None:
    train = blobs(64)
    torch.manual_seed(3)
    first = train_classifier(train, 2, tmp_path, num_steps=3)
    (tmp_path / "b").mkdir()
    torch.manual_seed(4)
    again = train_classifier(train, 2, tmp_path / "b", num_steps=3)
    kept = train_classifier(train, 2, tmp_path / "b", num_steps=3)
    x = torch.rand(5, 1, 8, 8)
    for other in (again, kept):
        assert torch.equal(first(x), other(x))
    features = first.features(x)
    assert features.shape == (5, Classifier.num_features)
    assert torch.equal(first.head(features), first(x))
