"""The requests of a replay that are about each model: all that it offers, there and back."""

import io
import json
import zipfile
from typing import Any

import numpy as np

from benchmarks.replay_requests import (
    DOCS,
    JSON,
    NPY,
    STREAM,
    Answer,
    Exchanges,
    Request,
    ask,
    form,
    get,
    npy,
    picture,
    pixels,
    post,
    text,
)

_FAST: dict[str, dict[str, Any]] = {
    "ddpm": {"num_steps": 6},
    "ebm": {"num_steps": 10},
    "jem": {"num_steps": 10},
}
"""Params of samples, by family, where the defaults take long."""
_TERMS = {"num_steps": 50, "num_terms": 6}
_VARIANTS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "ddpm_fashion-mnist": [
        *(
            ("sample", {"sampler": s, "num_steps": 5, "eta": 0.7, "guidance_scale": 2.0})
            for s in ("ancestral", "ancestral_posterior", "deterministic", "ddim", "dpm_solver_pp")
        ),
        ("sample", {"num_steps": 5, "spacing": "quadratic", "clip": True}),
        ("log_likelihood", {**_TERMS, "variance": "posterior", "num_samples": 2}),
        ("log_likelihood", {"estimator": "ode", "num_steps": 2, "num_probes": 2}),
    ],
    "ebm_mnist": [("log_likelihood", {"estimator": "ais"})],
    "glow_digits": [
        ("log_likelihood", {"num_samples": 3}),
        ("encode", {"dequantise": "noise"}),
        ("sample", {"temperature": 0.5}),
    ],
    "made_digits": [("sample", {"order": 3}), ("log_likelihood", {"num_orders": 2})],
    "maf_digits-64": [("sample", {"method": "sequential"}), ("sample", {"tolerance": 0.01})],
    "pixelcnn_digits": [("sample", {"temperature": 0.7})],
    "pixelvae_mnist": [("encode", {"latent": "noise"})],
    "residual_flow_digits": [
        ("log_likelihood", {"log_det": "truncated", "num_terms": 5, "num_probes": 2}),
        ("sample", {"tolerance": 1e-4}),
    ],
    "vae_mnist": [
        ("log_likelihood", {"num_samples": 40}),
        ("encode", {"latent": "noise"}),
        ("reconstruct", {"latent": "noise", "values": "noise"}),
        ("sample", {"values": "mean", "temperature": 0.6}),
    ],
}
"""Params other than the defaults."""


def exchanges() -> Exchanges:
    """Every model that is served."""
    listed = yield get("/models")
    for model in listed.json()["models"]:
        yield from _about(model)


def files_of(answer: Answer) -> list[bytes]:
    """The pictures of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def _about(model: dict[str, Any]) -> Exchanges:
    name, offered = model["name"], model["operations"]
    details = yield get(f"/models/{name}")
    events, operations = _events(model), details.json()["operations"]
    for operation in ("log_likelihood", "energy"):
        if operation in offered:
            params = {**_TERMS} if name.startswith("ddpm") else {}
            yield from _rated(model, operation, events, params, operations[operation])
    if "sample" in offered:
        yield from _sampled(model, operations["sample"])
    if "encode" in offered:
        yield from _encoded(model, events)
    if "reconstruct" in offered:
        yield _asked(model, "reconstruct", events)
        yield _asked(model, "reconstruct", events, "image/png")
    if "compress" in offered:
        yield from _compressed(model)
    for operation, params in _VARIANTS.get(name, ()):
        more: dict[str, Any] = {"num_samples": 2} if operation == "sample" else {}
        if "guidance_scale" in params:
            more["label"] = 3
        rows = None if operation == "sample" else events
        yield _asked(model, operation, rows, seed=9, params=params, **more)
    yield from _screened(model, events)


def _events(model: dict[str, Any]) -> np.ndarray:
    """Three events that the model accepts: grey levels as uint8, or numbers."""
    shape = tuple(model["event_shape"])
    if len(shape) == 3:
        return pixels(3, shape, 7)
    if model["name"] == "maf_digits-64":
        return pixels(3, shape, 7) % 17
    if model["name"] == "maf_breast-cancer":
        rows = json.loads((DOCS / "breast_cancer.json").read_bytes())["instances"]
        return np.array([*rows, rows[0]])
    return np.random.default_rng(7).standard_normal((3, *shape)).round(3)


def _asked(
    model: dict[str, Any],
    operation: str,
    events: np.ndarray | None = None,
    accept: str = "",
    **fields: Any,
) -> Request:
    """As JSON, events as lists."""
    name = model["name"]
    if events is not None:
        unit = events / 255 if len(model["event_shape"]) == 3 else events
        fields["instances"] = unit.tolist()
    return ask(f"{name} {operation} {accept}", f"/{operation}", accept, model=name, **fields)


def _rated(
    model: dict[str, Any],
    operation: str,
    events: np.ndarray,
    params: dict[str, Any],
    details: dict[str, Any],
) -> Exchanges:
    """Events in several forms: pictures where they can be, and an array."""
    name, path = model["name"], f"/{operation}?model={model['name']}"
    words = {key: str(value) for key, value in params.items()}
    if len(model["event_shape"]) == 3:
        files = [picture(x) for x in events]
        yield form(f"{name} {operation} files", path, files, **words)
    else:
        yield _asked(model, operation, events, params=params)
    query = "".join(f"&{key}={value}" for key, value in words.items())
    whole = events if events.dtype == np.uint8 else events.astype(np.float32)
    kept = whole if len(model["event_shape"]) == 3 else whole.astype(np.float32)
    yield post(f"{name} {operation} npy", f"{path}&seed=4{query}", NPY, npy(kept))
    if details["takes_label"] and model["class_names"]:
        label = model["class_names"][-1]
        yield _asked(model, operation, events, label=label, params=params)


def _sampled(model: dict[str, Any], details: dict[str, Any]) -> Exchanges:
    params = _FAST.get(model["family"], {})
    fields: dict[str, Any] = {"num_samples": 2, "seed": 7, "params": params}
    yield _asked(model, "sample", None, "application/x-npz", **fields)
    yield _asked(model, "sample", None, "text/event-stream", progress_every=100, **fields)
    if len(model["event_shape"]) == 3:
        yield _asked(model, "sample", None, "image/png", **{**fields, "seed": 8})
    if details["takes_label"] and model["class_names"]:
        yield _asked(model, "sample", label=1, format="arrays", **fields)


def _encoded(model: dict[str, Any], events: np.ndarray) -> Exchanges:
    """To latents and back, in both forms; and from latents that no event has."""
    name = model["name"]
    encoded = yield _asked(model, "encode", events, seed=2)
    yield _asked(model, "encode", events, "application/x-npz")
    z = [row["z"] for row in encoded.json()["results"]]
    yield ask(f"{name} decode", "/decode", model=name, latents=z, format="arrays")
    between = (np.array(z)[:1] / 2).astype(np.float32)
    accept = "image/webp" if len(model["event_shape"]) == 3 else "application/x-npz"
    yield post(f"{name} decode npy", f"/decode?model={name}&seed=1", NPY, npy(between), accept)


def _compressed(model: dict[str, Any]) -> Exchanges:
    """The model's own samples as a stream and back, in all forms."""
    name = model["name"]
    made = yield _asked(model, "sample", None, "application/zip", num_samples=2, seed=4)
    files = files_of(made)
    packed = yield form(f"{name} compress", f"/compress?model={name}", files)
    yield ask(f"{name} compress json", "/compress", JSON, model=name, images=[text(files[0])])
    for accept in (NPY, JSON, "application/zip"):
        yield post(f"{name} decompress {accept}", "/decompress", STREAM, packed.body, accept)


def _screened(model: dict[str, Any], events: np.ndarray) -> Exchanges:
    """By every score, alone and together, and what the service then has seen of them."""
    name = model["name"]
    for score in model["scores"]:
        yield get(f"/models/{name}/drift/reset?score={score}", "POST")
        yield _asked(model, "ood_score", events, score=score)
        yield _asked(model, "ood_score", events[:1], score=score, alpha=0.2)
        yield get(f"/models/{name}/drift?score={score}")
    if "classify" in model["operations"]:
        yield _asked(model, "classify", events)
