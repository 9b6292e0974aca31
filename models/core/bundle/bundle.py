"""A trained model as a folder: safetensors, JSON, ONNX graphs and a model card, nothing pickled."""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from models.core.bundle.checks import check_description
from models.core.bundle.preprocess import Preprocessing
from models.core.calibration.conformal import Calibration, Reference
from models.core.contract.families import build, tupled
from models.core.contract.model import Servable

FORMAT = 1
_LARGE = 256  # numbers; halving fewer saves nothing
_DESCRIPTION, _WEIGHTS, _CALIBRATION = (
    "bundle.json",
    "weights.safetensors",
    "calibration.safetensors",
)


class BundleError(ValueError):
    """A folder that is no whole bundle; the message names the file."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """All that serving needs from training. Metrics have their unit or definition in the key."""

    name: str
    family: str
    """The file of the family; of a screen, the kind."""
    config: dict[str, Any]
    weights: dict[str, Tensor]
    preprocessing: Preprocessing | None
    """None for vectors."""
    feature_names: tuple[str, ...] = ()
    """Names of the columns, for models of vectors whose columns have names."""
    class_names: tuple[str, ...] = ()
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    """A calibration for each OOD score; the first is the default."""
    calibration_source: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    graphs: dict[str, bytes] = field(default_factory=dict)
    """ONNX models by graph name."""
    kind: Literal["model", "screen"] = "model"
    version: str = ""
    """Hash of all of the above, set by `save` and `load`."""

    def build(self) -> Servable:
        """The model with its weights, in eval mode, on the CPU. Raises BundleError."""
        try:
            model = build(self.family, self.config)
            model.load_state_dict(self.weights)
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise BundleError(
                f"{self.name}: {_WEIGHTS} does not fit the config: {error}"
            ) from error
        return model.eval().requires_grad_(False)


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large weights in half precision; log Z, biases and statistics of columns keep theirs."""
    return {
        name: w.half() if w.dtype == torch.float32 and w.numel() >= _LARGE else w
        for name, w in weights.items()
    }


def save(bundle: Bundle, path: Path, extras: Mapping[str, bytes] | None = None) -> Path:
    """Write the folder whole or not at all; `extras` are files for people, by relative path."""
    calibration = {
        key: column.contiguous()
        for name, c in bundle.calibrations.items()
        for key, column in _columns(name, c).items()
    }
    files = {
        _WEIGHTS: save_tensors({k: w.contiguous() for k, w in bundle.weights.items()}),
        **({_CALIBRATION: save_tensors(calibration)} if calibration else {}),
        **{f"graphs/{name}.onnx": graph for name, graph in bundle.graphs.items()},
    }
    description = {
        "format": FORMAT,
        "name": bundle.name,
        "kind": bundle.kind,
        "family": bundle.family,
        "config": bundle.config,
        "preprocessing": bundle.preprocessing and asdict(bundle.preprocessing),
        "feature_names": bundle.feature_names,
        "class_names": bundle.class_names,
        "calibration": {
            "source": bundle.calibration_source,
            "reference": {
                name: None if isinstance(c.reference, Tensor) else c.reference
                for name, c in bundle.calibrations.items()
            },
        },
        "metrics": bundle.metrics,
        "provenance": bundle.provenance,
        "files_sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    check_description(description)
    text = json.dumps(description, indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    replaced = beside.with_name(f"{beside.name}-replaced")
    try:
        beside.chmod(0o755)
        for name, data in {**files, _DESCRIPTION: text.encode(), **(extras or {})}.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(data)
        if path.exists():
            # Two renames, so that a crash leaves a whole bundle under one name or the other.
            path.rename(replaced)
        try:
            beside.rename(path)
        except OSError:
            if replaced.exists():
                replaced.rename(path)
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)
    return path


def load(url: str | Path) -> Bundle:
    """Read a bundle from a folder or an object-store URL. Raises BundleError, naming the file."""
    url = str(url).rstrip("/")
    raw = _read(url, _DESCRIPTION)
    try:
        text = json.loads(raw)
        if text["format"] != FORMAT:
            raise BundleError(f"{url}: format {text['format']}, accepted is {FORMAT}")
        _check(url, text)
        files = {name: _checked(url, name, digest) for name, digest in text["files_sha256"].items()}
        weights = load_tensors(files[_WEIGHTS])
        scores = load_tensors(files[_CALIBRATION]) if _CALIBRATION in files else {}
        reference = text["calibration"]["reference"]
        return Bundle(
            name=text["name"],
            family=text["family"],
            config={name: tupled(value) for name, value in text["config"].items()},
            weights=weights,
            preprocessing=_preprocessing(text["preprocessing"]),
            feature_names=tuple(text.get("feature_names", ())),
            class_names=tuple(text["class_names"]),
            calibrations={n: _calibration(n, scores, value) for n, value in reference.items()},
            calibration_source=text["calibration"]["source"],
            metrics=text["metrics"],
            provenance=text["provenance"],
            graphs={Path(n).stem: data for n, data in files.items() if n.endswith(".onnx")},
            kind=_kind(text.get("kind", "model"), text["family"]),
            version=hashlib.sha256(raw).hexdigest()[:12],
        )
    except SafetensorError as error:
        raise BundleError(f"{url}: not safetensors: {error}") from error
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{url}/{_DESCRIPTION}: {type(error).__name__} {error}") from error


def _check(url: str, text: dict[str, Any]) -> None:
    try:
        check_description(text)
    except ValueError as error:
        raise BundleError(f"{url}/{_DESCRIPTION}: {error}") from error


def _columns(name: str, calibration: Calibration) -> dict[str, Tensor]:
    """What of a calibration is stored as tensors: references that are single numbers are not."""
    columns = {
        name: calibration.scores,
        f"{name}.z": calibration.z,
        f"{name}.category": calibration.category,
        f"{name}.reference": calibration.reference,
    }
    return {key: column for key, column in columns.items() if isinstance(column, Tensor)}


def _calibration(name: str, tensors: Mapping[str, Tensor], value: Any) -> Calibration:
    """The inverse; `value` is the reference where it is a single number."""
    reference: Reference = tensors[f"{name}.reference"] if value is None else value
    return Calibration(
        tensors[name], reference, tensors.get(f"{name}.z"), tensors.get(f"{name}.category")
    )


def _kind(text: str, family: str) -> Literal["model", "screen"]:
    if text == "model" and family != "screen":
        return "model"
    if text == "screen" and family == "screen":
        return "screen"
    raise BundleError(
        f"{_DESCRIPTION}: kind {text!r} of family {family!r}: accepted are model and screen, the "
        "latter of family screen"
    )


def _preprocessing(text: dict[str, Any] | None) -> Preprocessing | None:
    try:
        return None if text is None else Preprocessing(**text)
    except ValueError as error:
        raise BundleError(f"preprocessing: {error}") from error


def _read(url: str, name: str) -> bytes:
    try:
        with fsspec.open(f"{url}/{name}", "rb") as file:
            data: bytes = file.read()
            return data
    except (OSError, ValueError, ImportError) as error:  # the last two: no such protocol
        raise BundleError(f"{url}/{name} cannot be read: {error}") from error


def _checked(url: str, name: str, digest: str) -> bytes:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or ".." in name:
        raise BundleError(f"{url}/{_DESCRIPTION}: file name {name!r} is not accepted")
    data = _read(url, name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise BundleError(f"{url}/{name} is damaged: its sha256 is not the one in {_DESCRIPTION}")
    return data


def half_rounded(model: torch.nn.Module) -> None:
    """Round the weights as `halved` would store them, so that figures hold for what is served."""
    model.load_state_dict(halved(model.state_dict()))
