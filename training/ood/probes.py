"""Probes: images made from a model's own test images, or from nothing, that a screen should see."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

Part = Literal["development", "held-out", "benign"]
"""May be looked at while designing; looked at afterwards; the same images, hardly changed."""


@dataclass(frozen=True)
class Own:
    """What probes are made from: a model's own test images, in its form."""

    x: np.ndarray  # uint8 (N, C, H, W)
    y: np.ndarray  # (N,)
    background: int
    random: np.random.RandomState


@dataclass(frozen=True)
class Probe:
    """One way to make images of a model's own, with a sentence that says how."""

    name: str
    part: Part
    about: str
    make: Callable[[Own], np.ndarray]
    """Gives uint8 (N, C, H', W')."""


def _blurred(own: Own) -> np.ndarray:
    return _levels(ndimage.gaussian_filter(own.x.astype(np.float64), (0, 0, 1, 1), mode="nearest"))


def _permuted(own: Own) -> np.ndarray:
    num, channels, height, width = own.x.shape
    order = own.random.permutation(height * width)
    return own.x.reshape(num, channels, -1)[:, :, order].reshape(own.x.shape)


def _constant(own: Own) -> np.ndarray:
    levels = own.random.randint(0, 256, (*own.x.shape[:2], 1, 1))
    return np.broadcast_to(levels, own.x.shape).astype(np.uint8)


def _uniform(own: Own) -> np.ndarray:
    return own.random.randint(0, 256, own.x.shape).astype(np.uint8)


def _smooth(own: Own) -> np.ndarray:
    field = own.random.standard_normal(own.x.shape)
    field = ndimage.gaussian_filter(field, (0, 0, 3, 3), mode="wrap")
    low, high = field.min((2, 3), keepdims=True), field.max((2, 3), keepdims=True)
    return _levels(255 * (field - low) / (high - low))


def _noisy(own: Own) -> np.ndarray:
    return _levels(own.x + own.random.normal(0, 10, own.x.shape))


def _halves(own: Own) -> np.ndarray:
    """A set of one class mixes images of that class; no image is mixed with itself."""
    several = len(np.unique(own.y)) > 1
    rows = np.arange(len(own.x))
    partner = np.array(
        [own.random.choice(rows[own.y != own.y[i] if several else rows != i]) for i in rows]
    )
    middle = own.x.shape[2] // 2
    return np.concatenate([own.x[:, :, :middle], own.x[partner, :, middle:]], axis=2)


def _shifted(own: Own) -> np.ndarray:
    moved = np.full_like(own.x, own.background)
    moved[..., 1:] = own.x[..., :-1]
    return moved


def _jpeg(own: Own) -> np.ndarray:
    return np.stack([_decoded(encoded(pixels, "JPEG", quality=75)) for pixels in own.x])


def dimmed(x: np.ndarray, background: int) -> np.ndarray:
    """Half as far from the background, rounded. Shapes: uint8 (N, ...) -> uint8 (N, ...)."""
    return _levels(background + (x.astype(np.float64) - background) / 2)


def encoded(pixels: np.ndarray, form: str = "PNG", **options: int) -> bytes:
    """An image file. Shape: uint8 (C, H, W) with C = 1 or 3."""
    flat = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(file, form, **options)
    return file.getvalue()


def _decoded(data: bytes) -> np.ndarray:
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _levels(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


PROBES = (
    Probe("own-inverted", "development", "own test images, 255 - x", lambda own: 255 - own.x),
    Probe("own-blurred", "development", "own test images, Gaussian blur, sigma 1 pixel", _blurred),
    Probe("own-permuted", "development", "own test images, one fixed pixel permutation", _permuted),
    Probe("constant", "development", "one random grey (or colour) an image", _constant),
    Probe("black", "development", "all pixels 0", lambda own: np.zeros_like(own.x)),
    Probe("uniform-noise", "development", "independent uniform pixels", _uniform),
    Probe("smooth-noise", "held-out", "Gaussian noise, blurred by 3 pixels, full range", _smooth),
    Probe(
        "own-hflip",
        "held-out",
        "own test images, left and right swapped",
        lambda own: own.x[..., ::-1],
    ),
    Probe("own-vflip", "held-out", "own test images, upside down", lambda own: own.x[:, :, ::-1]),
    Probe(
        "own-rot90",
        "held-out",
        "own test images, a quarter turn against the clock",
        lambda own: np.rot90(own.x, axes=(2, 3)),
    ),
    Probe(
        "own-half-contrast",
        "held-out",
        "own test images, half as far from the background",
        lambda own: dimmed(own.x, own.background),
    ),
    Probe("own-noise10", "held-out", "own test images + N(0, 10^2) of 255 levels, clipped", _noisy),
    Probe(
        "own-halves",
        "held-out",
        "top half of one own test image, bottom half of one of another class",
        _halves,
    ),
    Probe("own-jpeg75", "benign", "own test images as JPEG of quality 75", _jpeg),
    Probe("own-shifted", "benign", "own test images, one pixel to the right", _shifted),
    Probe(
        "own-5pct-brighter", "benign", "own test images x 1.05", lambda own: _levels(own.x * 1.05)
    ),
    Probe("own-5pct-darker", "benign", "own test images x 0.95", lambda own: _levels(own.x * 0.95)),
)
