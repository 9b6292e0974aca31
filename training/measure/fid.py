"""How far samples are from the test split in a classifier's features, for several samplers.

Heusel et al. 2017, "GANs trained by a two time-scale update rule", arXiv:1706.08500, section 3,
with the features of a classifier of our own instead of Inception's: figures compare with each
other only.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction, seconds_per_call
from models.core.contract.grid import quantise
from models.core.contract.model import GenerativeModel
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation
from training.data.splits import Split, as_events
from training.export import export
from training.fit.recipe import params_of
from training.measure.classifier import Classifier

_SEED = 2025
_BATCH = 100  # samples that are made together; so many are lost by an interruption


def feature_fids(
    model: GenerativeModel,
    classifier: Classifier,
    splits: Mapping[str, Split],
    compared_params: Mapping[str, Mapping[str, Any]],
    num: int,
    folder: Path,
) -> dict[str, float]:
    """Frechet distance of `num` samples to the whole test split, by name of the sampler's params.

    The floor is that of as many train images. All samplers get the same seeds, and the labels of
    the test split if they take any. Samples are kept in `folder`, so that an interrupted
    comparison goes on.
    """
    if not compared_params:
        return {}
    test = features(classifier, splits["test"].x)
    floor = frechet_distance(features(classifier, splits["train"].x[:num]), test)
    figures = {f"feature_fid_train_{num}": floor}
    label = torch.from_numpy(np.resize(splits["test"].y, num))
    operation = model.operations()["sample"]
    with fastest(model, operation):
        for name, changes in compared_params.items():
            params = params_of(operation, changes)
            x = samples(model, params, label, folder / f"{name}.npz", name)
            figures[f"feature_fid_{name}_{num}"] = frechet_distance(features(classifier, x), test)
    return figures


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between the Gaussians of two sets of features, with 1706.08500's squared units.

    |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)). Shapes: (N, F), (M, F).
    """
    a, b = a.double(), b.double()
    # Its singular values are the roots of the eigenvalues of cov_a cov_b, and nothing cancels.
    cross = torch.linalg.svdvals(_root(a.T.cov()) @ _root(b.T.cov())).sum()
    away = (a.mean(0) - b.mean(0)).square().sum()
    return float(away + a.var(0).sum() + b.var(0).sum() - 2 * cross)


def _root(cov: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(cov)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


@torch.no_grad()
def features(classifier: Classifier, x: np.ndarray) -> Tensor:
    """The classifier's features of 8-bit images. Shapes: uint8 (N, C, H, W) -> (N, F)."""
    device = next(classifier.parameters()).device
    parts = (as_events(x[i : i + 500]).to(device) for i in range(0, len(x), 500))
    return torch.cat([classifier.features(part).cpu() for part in parts])


@torch.no_grad()
def samples(
    model: GenerativeModel, params: Any, label: Tensor, path: Path, title: str
) -> np.ndarray:
    """A sample for each label, those in the file among them. -> uint8 (N, C, H, W).

    Samples of other weights, params or labels in the file are made anew.
    """
    operation = model.operations()["sample"]
    key, seed = _fingerprint(model, params), row_seeds(_SEED, len(label))
    done = _kept(path, key, label, model.event_shape)
    num_steps = operation.num_steps(params)
    with Progress(transient=True) as progress:
        bar = progress.add_task(title, total=len(label) * num_steps)
        while len(done) < len(label):
            progress.update(bar, completed=len(done) * num_steps)
            rows = slice(len(done), len(done) + _BATCH)
            inputs = {"seed": seed[rows]}
            if operation.takes_label and model.num_classes:
                inputs["label"] = label[rows]
            state = operation.init(inputs, params)
            for _ in range(num_steps):
                state = operation.step(state)
                progress.advance(bar, len(seed[rows]))
                if operation.stops_early and bool(state["done"].all()):
                    break
            drawn = quantise(operation.finish(state)["x"].cpu()).numpy()
            done = np.concatenate([done, drawn])
            _keep(path, done, label[: len(done)].numpy(), key)
    return done[: len(label)]


def _fingerprint(model: GenerativeModel, params: Any) -> str:
    """Digest of what decides a sample beside its seed and its label."""
    digest = hashlib.sha256(json.dumps(asdict(params), sort_keys=True).encode())
    for name, weight in model.state_dict().items():
        digest.update(name.encode() + weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _kept(path: Path, key: str, label: Tensor, event_shape: tuple[int, ...]) -> np.ndarray:
    """What an earlier run made of the same; nothing if it made something else."""
    nothing = np.zeros((0, *event_shape), np.uint8)
    if not path.exists():
        return nothing
    with np.load(path) as file:
        x, labels, kept = file["x"], file["label"], str(file["key"])
    num = min(len(labels), len(label))
    same = kept == key and np.array_equal(labels[:num], label[:num].numpy())
    return x if same else nothing


def _keep(path: Path, x: np.ndarray, label: np.ndarray, key: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".tmp.npz")
    np.savez_compressed(beside, x=x, label=label, key=np.array(key))
    beside.replace(path)


@contextmanager
def fastest(model: GenerativeModel, operation: Operation[Any]) -> Iterator[None]:
    """Inside, the graphs of an operation run by ONNX Runtime where that is faster than torch."""
    graphs = model.graphs()
    names = [name for name in operation.graphs if name in graphs and model.device.type == "cpu"]
    try:
        for name in names:
            rows = graphs[name].rows(_BATCH)
            onnx = OnnxFunction(export(graphs[name], half=False), torch.get_num_threads())
            if seconds_per_call(onnx, rows) < seconds_per_call(graphs[name].function, rows):
                model.use(name, onnx)
        yield
    finally:
        for name in names:
            model.use(name, None)
