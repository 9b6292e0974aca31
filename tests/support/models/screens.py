"""A tiny screen with a part of every kind."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle, halved
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import family
from models.core.ood.register import SCORES
from models.core.screen.config import Component, Config, Part
from models.core.screen.model import Screen
from tests.support.models.tiny import random_model

SIZE = 8
_SHAPE = (1, SIZE, SIZE)
_PIXELS = {
    "event_shape": _SHAPE,
    "num_levels": 256,
    "output": "logistic_mixture",
    "conditional": False,
}
_PARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "position": ("pixelcnn", _PIXELS),
    "local": (
        "pixelcnn",
        {**_PIXELS, "num_layers": 1, "input_kernel_size": 3, "coordinates": False},
    ),
    "denoiser": ("ddpm", {"event_shape": _SHAPE, "conditional": False}),
    "classifier": ("jem", {"event_shape": _SHAPE}),
}
_COMPONENTS = (
    Component(score="ic", part="position"),
    Component(score="llr_local", part="position", background="local"),
    Component(score="scale_ratio", part="position"),
    Component(score="denoising", part="denoiser"),
    Component(score="energy", part="classifier"),
    Component(score="feature_residual", part="classifier"),
)


def pictures(num: int, seed: int) -> Tensor:
    """Random images with some structure. -> (num, 1, 8, 8) on the grid of 256 levels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(num, 1, 1, 1, generator=generator) * torch.rand(
        num, *_SHAPE, generator=generator
    )
    return (x * 255).round() / 255


def untrained() -> Config:
    """Its config, before anything is fitted."""
    parts = tuple(
        Part(name=name, family=of, config=asdict(family(of).Config(**settings)))
        for name, (of, settings) in _PARTS.items()
    )
    return Config(
        event_shape=_SHAPE,
        parts=parts,
        components=_COMPONENTS,
        classifier="classifier",
        num_classes=3,
        num_knots=33,
    )


def tiny_screen(num: int = 300) -> Screen:
    """Random weights; references and z-values fitted to `num` random images."""
    config = untrained()
    empty = _with_weights(Screen(config))
    with torch.no_grad():
        seen = empty.columns(pictures(num, seed=1))
    references = [
        torch.as_tensor(SCORES[c.score].fitted(empty.rows_of(c, seen))).double().flatten()
        for c in empty.components
    ]
    components = tuple(
        replace(c, num_references=len(r)) for c, r in zip(_COMPONENTS, references, strict=True)
    )
    screen = _with_weights(Screen(replace(config, components=components, num_fitted=num)))
    screen.references.copy_(torch.cat(references))
    screen.fit_knots(screen.raw_scores(seen))
    return screen


def as_bundle(screen: Screen, **changes: Any) -> Bundle:
    """A bundle of it, not calibrated."""
    bundle = Bundle(
        name="tiny",
        family="screen",
        kind="screen",
        config=asdict(screen.config),
        weights=halved(screen.state_dict()),
        preprocessing=Preprocessing(SIZE, SIZE),
    )
    return replace(bundle, **changes)


def _with_weights(screen: Screen) -> Screen:
    for name, (of, settings) in _PARTS.items():
        screen.part(name).load_state_dict(random_model(of, **settings).state_dict())
    return screen.eval().requires_grad_(False)
