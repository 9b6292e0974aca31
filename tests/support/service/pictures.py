"""Uploads for the tests: sound ones in many formats, and such as should be refused."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PNG_HEADERS = {"content-type": "image/png"}
NPY_HEADERS = {"content-type": "application/x-npy"}


def pixels(height: int = 8, width: int = 8, seed: int = 0) -> np.ndarray:
    """Random grey levels, uint8 (H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """An image as the bytes of a file."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def png(seed: int = 0) -> bytes:
    """A sound 8 x 8 grey PNG, which fits the tiny models as it is."""
    return file(Image.fromarray(pixels(seed=seed)))


def deep_png() -> bytes:
    """A 16-bit grey PNG whose levels are 257 times those of `png()`."""
    return file(Image.fromarray(pixels().astype(np.uint16) * 257))


def bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A small PNG that claims to be huge; its rows are real as far as they go."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(width + 1) * 50)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def npy(array: np.ndarray) -> bytes:
    """An array as the bytes of a .npy file."""
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def png_of(image: np.ndarray) -> bytes:
    """A file of uint8 (C, H, W)."""
    return file(Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))
