"""Pictures in and out: uploads become the model's pixels within limits, samples become files."""

import asyncio
import io
import math
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.core.bundle.preprocess import Preprocessing
from service.errors import InvalidImage, PayloadTooLarge

Animated = Literal["GIF", "WEBP", "PNG"]
"""Pillow's names of animated formats."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_GAP = 2
"""Pixels between the images of a grid."""
_SMALL_BYTES, _SMALL_PIXELS = 2**16, 2**16
"""What is decoded at once: handing it to another thread would cost more than decoding it."""
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    NotImplementedError,
    EOFError,
    MemoryError,
    OverflowError,
    TypeError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise for files that are not what they claim to be."""


@dataclass(frozen=True)
class Decoded:
    """One upload in the form that the model was trained on."""

    pixels: np.ndarray
    """uint8 (C, H, W)."""
    notes: tuple[str, ...] = ()
    """What was changed on the way."""


class Decoder:
    """Decodes uploads with Pillow: known formats only, bounded in pixels, large ones in threads."""

    def __init__(self, max_pixels: int, num_threads: int) -> None:
        self.max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
        # Decoders that meet a second size inside a file check it against Pillow's own limit.
        Image.MAX_IMAGE_PIXELS = max_pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)

    async def decode(self, data: bytes, index: int, preprocessing: Preprocessing) -> Decoded:
        """Raises InvalidImage with the index, or PayloadTooLarge."""
        image = self._open(data, index)
        work = partial(_converted, image, index, preprocessing)
        if len(data) <= _SMALL_BYTES and image.width * image.height <= _SMALL_PIXELS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _open(self, data: bytes, index: int) -> Image.Image:
        """Reads the header only."""
        if not data:
            raise InvalidImage("empty", index)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise self._too_large(index) from error
        except UnidentifiedImageError as error:
            raise InvalidImage(f"accepted are {', '.join(FORMATS)}", index) from error
        except _DAMAGED as error:
            raise InvalidImage(f"damaged: {error}", index) from error
        if image.width * image.height > self.max_pixels:
            raise self._too_large(index)
        return image

    def _too_large(self, index: int) -> PayloadTooLarge:
        return PayloadTooLarge(f"image {index}: accepted are at most {self.max_pixels} pixels")


def _converted(image: Image.Image, index: int, preprocessing: Preprocessing) -> Decoded:
    try:
        image.load()
        if image.mode == "F":
            raise ValueError("floating-point pixels have no stated range: send them as an array")
        pixels, notes = preprocessing.apply(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PayloadTooLarge(f"image {index}: too many pixels") from error
    except _DAMAGED as error:
        raise InvalidImage(f"damaged: {error}", index) from error
    if getattr(image, "is_animated", False):
        notes = ("only the first frame is used", *notes)
    return Decoded(pixels, notes)


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


def grid(pixels: np.ndarray) -> np.ndarray:
    """Images side by side, as square as they go, row by row. (B, C, H, W) -> (C, H', W')."""
    num, channels, height, width = pixels.shape
    canvas = np.full(grid_shape(num, (channels, height, width)), 128, np.uint8)
    num_columns = math.ceil(math.sqrt(num))
    for i, tile in enumerate(pixels):
        top, left = (i // num_columns) * (height + _GAP), (i % num_columns) * (width + _GAP)
        canvas[:, top : top + height, left : left + width] = tile
    return canvas


def grid_shape(num: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Of the `grid` of so many images of shape (C, H, W)."""
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
