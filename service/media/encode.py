"""Pictures and arrays out: pixels become files."""

import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from PIL import Image

Animated = Literal["GIF", "WEBP", "PNG"]
"""Pillow's names of animated formats."""
_GAP = 2
"""Pixels between images that are tiled."""


def png(pixels: np.ndarray) -> bytes:
    """An image file. Shape: uint8 (C, H, W) with C = 1 or 3."""
    file = io.BytesIO()
    _image(pixels).save(file, "PNG")
    return file.getvalue()


def animated(frames: Iterable[np.ndarray], form: Animated, durations_ms: Sequence[int]) -> bytes:
    """An endless animation; all but GIFs of colours are lossless. Shapes: as of `png`.

    Equal frames in a row may become one that is shown for longer.
    """
    first, *others = (_image(pixels) for pixels in frames)
    file = io.BytesIO()
    # Beyond the first levels of effort, lossless WebP takes minutes for what is mostly noise.
    fast = {"lossless": True, "quality": 0, "method": 0} if form == "WEBP" else {}
    first.save(
        file, form, save_all=True, append_images=others, duration=durations_ms, loop=0, **fast
    )
    return file.getvalue()


def _image(pixels: np.ndarray) -> Image.Image:
    flat = pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(flat))


def tiled(pixels: np.ndarray) -> np.ndarray:
    """Images side by side, as square as they go, row by row. (B, C, H, W) -> (C, H', W')."""
    num, channels, height, width = pixels.shape
    canvas = np.full(tiled_shape(num, (channels, height, width)), 128, np.uint8)
    num_columns = math.ceil(math.sqrt(num))
    for i, tile in enumerate(pixels):
        top, left = (i // num_columns) * (height + _GAP), (i % num_columns) * (width + _GAP)
        canvas[:, top : top + height, left : left + width] = tile
    return canvas


def tiled_shape(num: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The shape of so many images of shape (C, H, W) when they are `tiled`."""
    channels, height, width = shape
    num_columns = math.ceil(math.sqrt(num))
    num_rows = math.ceil(num / num_columns)
    return channels, num_rows * (height + _GAP) - _GAP, num_columns * (width + _GAP) - _GAP


def zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    """A zip archive of (name, content); the same content gives the same bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    """One array in NumPy's format."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    """Several arrays in NumPy's format, without pickles."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()
