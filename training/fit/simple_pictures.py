"""Simple pictures made from nothing: what an energy must not take for data because it is smooth.

Short chains from the data never visit them, and their likelihood is high under most models. To
train against them is outlier exposure (Hendrycks et al. 2019, arXiv:1812.04606) by synthetic
pictures: no image of any data set is among them, but strokes and blots resemble drawings.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

KINDS = {"constant": 0.1, "smooth": 0.2, "blot": 0.35, "outline": 0.35}
"""How often each kind is drawn; constants are told from data at once."""


def simple_pictures(rng: np.random.Generator, num: int, event_shape: Sequence[int]) -> Tensor:
    """Constants, smooth noise, blots and outlines, all of a random contrast.

    Every channel has its own. -> (num, C, H, W) float32 in [0, 1].
    """
    channels, height, width = event_shape
    names = list(KINDS)
    kind = rng.choice(len(names), (num, 1, 1, 1), p=list(KINDS.values()))
    field = _smooth(rng, num, channels, height, width)
    level = rng.uniform(-1.5, 1.5, size=(num, 1, 1, 1))
    band = rng.uniform(0.1, 0.5, size=(num, 1, 1, 1))
    low, high = field.min((2, 3), keepdims=True), field.max((2, 3), keepdims=True)
    shapes = {
        "constant": np.ones_like(field),
        "smooth": (field - low) / np.maximum(high - low, 1e-6),
        "blot": _step(field - level),
        "outline": _step(band - np.abs(field - level)),
    }
    x = np.select([kind == i for i in range(len(names))], [shapes[name] for name in names])
    # Ink on a ground: half of the grounds are black, as that of drawings is.
    ink = rng.uniform(size=(num, channels, 1, 1))
    ground = rng.uniform(size=(num, channels, 1, 1)) * (rng.random((num, 1, 1, 1)) < 0.5)
    full = rng.random((num, 1, 1, 1)) < 0.5
    ink = np.where(full & (kind != names.index("constant")), 1.0, ink)
    return torch.from_numpy((ground + (ink - ground) * x).astype(np.float32))


def _step(field: np.ndarray) -> np.ndarray:
    """1 above zero and 0 below, the edge about a pixel wide."""
    return np.clip(0.5 + 4 * field, 0, 1)


def _smooth(
    rng: np.random.Generator, num: int, channels: int, height: int, width: int
) -> np.ndarray:
    """Gaussian fields of mean 0 and variance 1, each as smooth as it happens to be.

    The scale is between a twenty-fifth and a fifth of the height. Shape: as the arguments say.
    """
    scale = height * np.exp(rng.uniform(np.log(0.04), np.log(0.2), size=(num, 1, 1, 1)))
    down = np.fft.fftfreq(2 * height)[:, None]
    right = np.fft.rfftfreq(2 * width)[None]
    white = np.fft.rfft2(rng.standard_normal((num, channels, 2 * height, 2 * width)))
    blurred = white * np.exp(-2 * (np.pi * scale) ** 2 * (down**2 + right**2))
    # The field is periodic: of twice the size, so that opposite edges of a quarter do not agree.
    field = np.fft.irfft2(blurred, (2 * height, 2 * width))
    field /= field.std((2, 3), keepdims=True)
    return field[..., :height, :width]
