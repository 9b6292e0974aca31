"""Lossless image formats as codecs of arrays, for comparison: PNG, WebP, JPEG XL, zlib, xz."""

import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pillow_jxl  # noqa: F401  registers the format
from PIL import Image


@dataclass(frozen=True)
class Format:
    """A name, and two functions that are each other's inverse."""

    name: str
    encode: Callable[[np.ndarray], bytes]
    """File of levels, uint8 (H, W), black and white as 0 and 1."""
    decode: Callable[[bytes], np.ndarray]
    """(H, W), or all levels in a row."""


def formats(num_levels: int) -> list[Format]:
    """Each at its slowest setting, which is its smallest; two levels as one bit where it can."""
    width = (num_levels - 1).bit_length()
    webp = partial(_saved, format="WEBP", lossless=True, quality=100, method=6)

    def deflated(levels: np.ndarray) -> bytes:
        return zlib.compress(_packed(levels, width), 9)

    def inflated(data: bytes) -> np.ndarray:
        return _unpacked(zlib.decompress(data), width)

    def xz(levels: np.ndarray) -> bytes:
        return lzma.compress(_packed(levels, width), **_XZ)

    def from_xz(data: bytes) -> np.ndarray:
        return _unpacked(lzma.decompress(data, **_XZ), width)

    return [
        Format("PNG, optimised", partial(_png, num_levels=num_levels), _opened),
        Format("WebP, lossless", webp, _opened),
        Format(
            "JPEG XL, lossless", partial(_saved, format="JXL", lossless=True, effort=9), _opened
        ),
        Format("zlib of packed bits", deflated, inflated),
        Format("xz of packed bits", xz, from_xz),
    ]


_XZ: dict[str, Any] = {
    "format": lzma.FORMAT_RAW,
    "filters": [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}],
}


def _packed(levels: np.ndarray, width: int) -> bytes:
    bits = levels.reshape(-1, 1) >> np.arange(width - 1, -1, -1) & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def _unpacked(data: bytes, width: int) -> np.ndarray:
    """All levels in a row, and some zeros at the end."""
    flat = np.unpackbits(np.frombuffer(data, np.uint8))
    bits = flat[: len(flat) // width * width].reshape(-1, width)
    return (bits << np.arange(width - 1, -1, -1, dtype=np.uint8)).sum(1, dtype=np.uint8)


def _png(levels: np.ndarray, num_levels: int) -> bytes:
    if num_levels > 2:
        return _saved(levels, format="PNG", optimize=True)
    file = io.BytesIO()
    Image.fromarray(levels.astype(bool)).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _saved(levels: np.ndarray, **settings: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, **settings)
    return file.getvalue()


def _opened(data: bytes) -> np.ndarray:
    levels = np.asarray(Image.open(io.BytesIO(data)))
    return (levels if levels.ndim == 2 else levels[..., 0]).astype(np.uint8)
