"""Pictures in: uploads become the model's pixels, within limits."""

import asyncio
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image, UnidentifiedImageError

from models.core.bundle.preprocess import Preprocessing
from service.errors import InvalidImage, PayloadTooLarge

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
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
