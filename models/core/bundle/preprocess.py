"""Any picture as a model was trained on them: the one path for training and for uploads."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from models.core.contract.grid import binarise
from models.core.contract.noise import event_seeds, uniform
from models.core.picture.container import Container
from models.core.picture.decode import Mode, decode_picture, flattened
from models.core.picture.opened import MAX_PIXELS

_MODES: dict[int, Mode] = {1: "L", 3: "RGB"}
_CHUNK = 4096
"""Images that are binarised at once: their noise takes four times their memory."""


@dataclass(frozen=True)
class Preprocessing:
    """Size, colour mode, polarity and number of grey levels of a model's images.

    Pictures of another shape are fitted with their aspect ratio kept (Lanczos) and padded with
    `background`, the grey level that surrounds the subject in the model's training images.
    Raises ValueError if there are fewer than 2 or more than 256 levels.
    """

    height: int
    width: int
    channels: int = 1
    invert: bool = False
    background: int = 0
    levels: int = 256
    """Evenly spaced grey levels that are left; 2 are black and white, drawn from the greys."""

    def __post_init__(self) -> None:
        if not 2 <= self.levels <= 256:
            raise ValueError(f"{self.levels} grey levels: accepted are 2 to 256")

    def read(
        self, container: Container, max_pixels: int = MAX_PIXELS
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """A file's pixels uint8 (C, H, W) and a note for each thing that was changed on the way.

        Raises UnreadablePicture, whatever is wrong with the file; ValueError if `channels` is
        neither 1 nor 3.
        """
        picture = decode_picture(container, self._mode, self._ground, max_pixels)
        return self._fitted(picture.image, list(picture.notes))

    def apply(self, image: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
        """An 8-bit picture's pixels uint8 (C, H, W) and a note for each thing that was changed.

        Raises ValueError if `channels` is neither 1 nor 3, or for a picture of another depth.
        """
        mode, notes = self._mode, list[str]()
        if image.mode != mode and (image.mode, mode) != ("1", "L"):
            notes.append(f"converted from mode {image.mode} to {mode}")
        return self._fitted(flattened(image, mode, self._ground, notes), notes)

    @property
    def levels_note(self) -> str:
        """What `to_levels` does to an image that it changes, in words."""
        if self.levels == 2:
            return "binarised: white with probability grey / 255, the same bits every time"
        return f"rounded to {self.levels} grey levels"

    def to_levels(self, pixels: np.ndarray) -> np.ndarray:
        """The nearest grey levels; of two levels, white with probability grey / 255.

        The random bits of an image are a function of its pixels alone, so that an image has the
        same ones in training, in an upload and in any company. Shapes: uint8 (N, C, H, W) ->
        uint8 (N, C, H, W).
        """
        if self.levels == 256:
            return pixels
        if self.levels > 2:
            step = 255 / (self.levels - 1)
            nearest = np.round(np.round(np.arange(256) / step) * step).astype(np.uint8)
            return nearest[pixels]
        parts = [_binarised(pixels[i : i + _CHUNK]) for i in range(0, len(pixels), _CHUNK)]
        return np.concatenate(parts) if parts else pixels

    @property
    def _mode(self) -> Mode:
        if self.channels not in _MODES:
            raise ValueError(f"{self.channels} channels: accepted are 1 and 3")
        return _MODES[self.channels]

    @property
    def _ground(self) -> int:
        """The background as it is before inversion."""
        return 255 - self.background if self.invert else self.background

    def _fitted(self, image: Image.Image, notes: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
        """A picture of the right mode in the model's polarity, size and levels."""
        if self.invert:
            image = ImageOps.invert(image)
            notes.append("inverted: the model expects a bright subject on a dark ground")
        size = (self.width, self.height)
        if image.size != size:
            notes.append(f"resized from {image.width}x{image.height} to {self.width}x{self.height}")
            ground = (self.background,) * self.channels if self.channels > 1 else self.background
            image = ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=ground)
        pixels = np.asarray(image, dtype=np.uint8).reshape(self.height, self.width, self.channels)
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        reduced = self.to_levels(pixels[None])[0]
        if not np.array_equal(reduced, pixels):
            notes.append(self.levels_note)
        return reduced, tuple(notes)


def _binarised(pixels: np.ndarray) -> np.ndarray:
    """One draw of `binarise` for each image, by noise from a hash of the image."""
    grey = torch.from_numpy(np.array(pixels, dtype=np.uint8, order="C"))
    zero = torch.zeros(len(grey), dtype=torch.int64)
    u = uniform(event_seeds(zero, grey), zero, tuple(grey.shape[1:]))
    return binarise(grey, u).numpy()
