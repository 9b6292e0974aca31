"""Tiny screens: two scores of the tiny JEM, fitted to one half of noise, calibrated on another."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from models.core.bundle.bundle import Bundle, save
from models.core.bundle.preprocess import Preprocessing
from models.core.screen.config import Component, Config, Part
from models.core.screen.model import Screen
from tests.support.service.models import tiny_model
from training.pipeline.make_screen import recalibrated

NUM = 199
SCREENED = ("energy", "max_softmax")
"""The components' scores."""


def pixels(num: int, seed: int) -> np.ndarray:
    """Noise of any contrast. -> uint8 (num, 1, 8, 8)."""
    rng = np.random.default_rng(seed)
    contrast = rng.random((num, 1, 1, 1))
    return (255 * contrast * rng.random((num, 1, 8, 8))).astype(np.uint8)


X = torch.cat([torch.ones(1, 1, 8, 8), torch.from_numpy(pixels(11, seed=3)).float() / 255])
"""A stranger, and images like those of the calibration."""


def make_screen(
    name: str,
    screens: tuple[str, ...] = (),
    *,
    classifies: bool = True,
    form: Preprocessing | None = None,
) -> Bundle:
    """A screen made for these bundles; its classes are balanced ones of the tiny JEM."""
    jem = tiny_model("jem", log_z=3.0)
    config = Config(
        event_shape=jem.event_shape,
        parts=(Part(name="jem", family="jem", config=vars(jem.config)),),
        components=tuple(Component(score=score, part="jem") for score in SCREENED),
        classifier="jem" if classifies else "",
        num_classes=3 if classifies else 0,
        screens=screens,
        num_knots=33,
    )
    screen = Screen(config)
    weights = jem.state_dict()
    x = torch.from_numpy(pixels(150, seed=1)).float() / 255
    # Random weights find one class everywhere; so each is found about as often.
    weights["net.head.2.bias"] -= jem.compute("logits", x)[0].median(0).values
    screen.part("jem").load_state_dict(weights)
    bundle = Bundle(
        name=name,
        family="screen",
        kind="screen",
        config=asdict(config),
        weights=screen.state_dict(),
        preprocessing=form or Preprocessing(height=8, width=8),
        class_names=("circle", "square", "star") if classifies else (),
    )
    found = recalibrated(bundle, pixels(150, seed=1), pixels(NUM, seed=2))
    return replace(found, calibration_source=f"{NUM} images of noise")


def save_screens(folder: Path) -> None:
    """`screen` is for bundle jem and classifies too; `blind` is for jem_raw and sees no classes.

    `blind` takes the negative of a picture.
    """
    save(make_screen("screen", ("jem",)), folder / "screen")
    negative = Preprocessing(height=8, width=8, invert=True)
    save(make_screen("blind", ("jem_raw",), classifies=False, form=negative), folder / "blind")
