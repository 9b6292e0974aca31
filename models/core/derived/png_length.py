"""How long an image is in a general lossless code: PNG's row filters, then deflate.

W3C, "Portable network graphics specification", section 9; deflate: RFC 1951. The length is that
of the zlib in use: another build may find other codes, of nearly the same length.
"""

import zlib

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

FILTERS = ("none", "sub", "up", "average", "paeth")


def code_bits(levels: Tensor) -> Tensor:
    """Bits of each image's code. Shapes: (B, C, H, W) integers in 0 .. 255 -> float32 (B,)."""
    pixels = levels.cpu().numpy().astype(np.uint8)
    return torch.tensor([8.0 * len(code) for code in codes(pixels)], dtype=torch.float32)


def half_size(levels: Tensor) -> Tensor:
    """The mean of every 2 x 2 square, rounded; a last odd row or column is left out.

    Shapes: (B, C, H, W) integers in 0 .. 255 -> uint8 (B, C, H // 2, W // 2). Raises ValueError
    for images of less than two rows or columns.
    """
    if min(levels.shape[-2:]) < 2:
        raise ValueError(f"images of {tuple(levels.shape[-2:])} have no half: accepted are 2 x 2")
    return avg_pool2d(levels.cpu().float(), 2).round().to(torch.uint8)


def codes(pixels: np.ndarray) -> list[bytes]:
    """The shortest code of each image: a byte that names the filter of all its rows, and a raw
    deflate stream of what the filter leaves, a byte a value, the colours of a pixel together.

    Shapes: uint8 (B, C, H, W) -> B codes.
    """
    left = filtered(pixels)
    return [
        min((bytes([i]) + _deflated(part[row]) for i, part in enumerate(left)), key=len)
        for row in range(len(pixels))
    ]


def filtered(pixels: np.ndarray) -> tuple[np.ndarray, ...]:
    """What each of FILTERS leaves of all rows. Shapes: uint8 (B, C, H, W) -> same (B, H, W * C)."""
    num, channels, height, width = pixels.shape
    x = pixels.transpose(0, 2, 3, 1).reshape(num, height, width * channels).astype(np.int16)
    left, above, corner = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    left[:, :, channels:] = x[:, :, :-channels]
    above[:, 1:] = x[:, :-1]
    corner[:, 1:, channels:] = x[:, :-1, :-channels]
    guesses = (np.zeros_like(x), left, above, (left + above) // 2, _paeth(left, above, corner))
    return tuple((x - guess).astype(np.uint8) for guess in guesses)


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The neighbour that is nearest to left + above - corner; the first of equals."""
    by_left, by_above = np.abs(above - corner), np.abs(left - corner)
    by_corner = np.abs(left + above - 2 * corner)
    is_left = (by_left <= by_above) & (by_left <= by_corner)
    return np.where(is_left, left, np.where(by_above <= by_corner, above, corner))


def _deflated(rows: np.ndarray) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(rows.tobytes()) + compressor.flush()
