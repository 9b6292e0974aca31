"""Pictures in: uploads become the model's pixels, within limits."""

import asyncio
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from models.core.picture.container import Container, TooManyPixels, UnreadablePicture
from models.core.picture.opened import FORMATS, open_picture
from service.errors import InvalidImage, PayloadTooLarge

_SMALL_BYTES, _SMALL_PIXELS = 2**16, 2**16
"""What is decoded at once: handing it to another thread would cost more than decoding it."""
_TOGETHER = 16
"""Pictures of one request that a thread decodes in a row."""


@dataclass(frozen=True)
class Decoded:
    """One upload in the form that the model was trained on."""

    pixels: np.ndarray
    """uint8 (C, H, W)."""
    notes: tuple[str, ...] = ()
    """What was changed on the way."""


class Decoder:
    """Decodes uploads in threads: known formats only, bounded in pixels and in structure."""

    def __init__(self, max_pixels: int, num_threads: int) -> None:
        self.max_pixels = max_pixels
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="decode")
        # Decoders that meet a second size inside a file check it against Pillow's own limit.
        Image.MAX_IMAGE_PIXELS = max_pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)

    async def decode(self, images: list[bytes], preprocessing: Preprocessing) -> list[Decoded]:
        """In order. Raises InvalidImage with the index, or PayloadTooLarge."""
        if len(images) == 1 and len(images[0]) <= _SMALL_BYTES:
            container = self._opened(images[0], 0)
            # The bytes of a small file may still be many pixels, or passes over them.
            if container.width * container.height <= _SMALL_PIXELS:
                return [self._converted(container, 0, preprocessing)]
        loop, given_up = asyncio.get_running_loop(), threading.Event()
        starts = range(0, len(images), _TOGETHER)
        work = [
            partial(self._part, images[at : at + _TOGETHER], at, preprocessing, given_up)
            for at in starts
        ]
        parts = [loop.run_in_executor(self._threads, part) for part in work]
        try:
            return [decoded for part in await asyncio.gather(*parts) for decoded in part]
        finally:
            # One is refused or the client has gone: what is left is not worth its time.
            given_up.set()

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _part(
        self, images: list[bytes], start: int, form: Preprocessing, given_up: threading.Event
    ) -> list[Decoded]:
        decoded = []
        for i, data in enumerate(images, start):
            if given_up.is_set():
                break
            decoded.append(self._converted(self._opened(data, i), i, form))
        return decoded

    def _opened(self, data: bytes, index: int) -> Container:
        try:
            return open_picture(data, FORMATS, self.max_pixels)
        except UnreadablePicture as error:
            raise _refused(error, index) from error

    def _converted(self, container: Container, index: int, form: Preprocessing) -> Decoded:
        try:
            return Decoded(*form.read(container, self.max_pixels))
        except UnreadablePicture as error:
            raise _refused(error, index) from error


def _refused(error: UnreadablePicture, index: int) -> InvalidImage | PayloadTooLarge:
    if isinstance(error, TooManyPixels):
        return PayloadTooLarge(f"image {index}: {error}")
    return InvalidImage(str(error), index)
