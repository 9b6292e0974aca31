"""Any picture to the form a model was trained on: the one path for training and for uploads."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

_MODES: dict[int, Literal["L", "RGB"]] = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Preprocessing:
    """Size, colour mode and polarity of a model's images.

    Pictures of another shape are fitted with their aspect ratio kept (Lanczos) and padded with
    `background`, the grey level that surrounds the subject in the model's training images.
    """

    height: int
    width: int
    channels: int = 1
    invert: bool = False
    background: int = 0

    def apply(self, image: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
        """Pixels uint8 (C, H, W) and a note for each thing that was changed on the way.

        Raises ValueError if `channels` is neither 1 nor 3, OSError if the picture is damaged.
        """
        if self.channels not in _MODES:
            raise ValueError(f"{self.channels} channels: accepted are 1 and 3")
        notes: list[str] = []
        image = _upright(image, notes)
        image = self._coloured(image, _MODES[self.channels], notes)
        if self.invert:
            image = ImageOps.invert(image)
            notes.append("inverted: the model expects a bright subject on a dark ground")
        image = self._fitted(image, notes)
        pixels = np.asarray(image, dtype=np.uint8).reshape(self.height, self.width, self.channels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)), tuple(notes)

    def _coloured(
        self, image: Image.Image, mode: Literal["L", "RGB"], notes: list[str]
    ) -> Image.Image:
        if image.mode == mode and "transparency" not in image.info:
            return image
        notes.append(f"converted from mode {image.mode} to {mode}")
        if image.mode in ("I", "F") or image.mode.startswith("I;16"):
            # Pillow clips deep greys at 255 instead of scaling them; 16-bit PNGs open as I;16.
            deep = np.asarray(image, dtype=np.float64)
            image = Image.fromarray(np.clip(deep / 257, 0, 255).round().astype(np.uint8))
        if image.has_transparency_data:
            ground = Image.new("RGBA", image.size, (self._ground(),) * 3 + (255,))
            image = Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
            notes.append(f"transparency laid on grey level {self._ground()}")
        return image.convert(mode)

    def _ground(self) -> int:
        """The background as it is before inversion."""
        return 255 - self.background if self.invert else self.background

    def _fitted(self, image: Image.Image, notes: list[str]) -> Image.Image:
        size = (self.width, self.height)
        if image.size == size:
            return image
        notes.append(f"resized from {image.width}x{image.height} to {self.width}x{self.height}")
        ground = (self.background,) * self.channels if self.channels > 1 else self.background
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=ground)


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    """Turn the picture as its EXIF orientation says."""
    if image.getexif().get(0x0112) not in range(2, 9):  # 1 is upright, others mean nothing
        return image
    notes.append("turned upright by its EXIF orientation")
    return ImageOps.exif_transpose(image)
