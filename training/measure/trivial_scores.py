"""Scores that need no model, which one that has learned something must beat."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

NUM_NEIGHBOURS = 1000
"""Training images that an image is compared with."""
TRIVIAL = {
    "small_file": "minus the bytes of an optimised PNG",
    "unusual_file": "distance of the bytes of an optimised PNG from their median",
    "bright": "mean level of all pixels",
    "unusual_brightness": "distance of the mean level from its median",
    "nonzero": "share of pixels that are not 0",
    "unusual_nonzero": "distance of the share of pixels that are not 0 from its median",
    "nearest": f"distance to the nearest of {NUM_NEIGHBOURS:,} training images, root mean square",
}
"""Names and definitions; medians are those of the training images, higher = stranger."""


@dataclass(frozen=True)
class Baselines:
    """The trivial scores, with what they know of the training images."""

    train: np.ndarray  # float32 (N, D), levels
    medians: tuple[float, float, float]

    @classmethod
    def fit(cls, x: np.ndarray) -> "Baselines":
        """Shape: train uint8 (N, C, H, W)."""
        size, brightness, nonzero = (float(np.median(values)) for values in _quantities(x))
        flat = x[:NUM_NEIGHBOURS].reshape(min(len(x), NUM_NEIGHBOURS), -1)
        return cls(flat.astype(np.float32), (size, brightness, nonzero))

    def scores(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every score of `TRIVIAL`, in its order. Shapes: uint8 (N, C, H, W) -> (N,) each."""
        size, brightness, nonzero = _quantities(x)
        unusual = [
            np.abs(values - median)
            for values, median in zip((size, brightness, nonzero), self.medians, strict=True)
        ]
        each = (-size, unusual[0], brightness, unusual[1], nonzero, unusual[2], self._nearest(x))
        return dict(zip(TRIVIAL, each, strict=True))

    def _nearest(self, x: np.ndarray) -> np.ndarray:
        train, near = torch.from_numpy(self.train), []
        for part in torch.from_numpy(x).flatten(1).float().split(500):
            near.append(torch.cdist(part, train).min(1).values)
        root = train.shape[1] ** 0.5
        return np.concatenate([distance.double().numpy() / root for distance in near])


def _quantities(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = x.reshape(len(x), -1)
    return file_bytes(x), flat.mean(1), (flat > 0).mean(1)


def file_bytes(x: np.ndarray) -> np.ndarray:
    """Bytes as an optimised PNG. Shapes: uint8 (N, C, H, W) -> float64 (N,)."""
    sizes = []
    for pixels in x.transpose(0, 2, 3, 1):
        file = io.BytesIO()
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(
            file, "PNG", optimize=True
        )
        sizes.append(file.tell())
    return np.array(sizes, np.float64)
