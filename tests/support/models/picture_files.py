"""Pictures' files made by hand: any depth, any tag, any chunk."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

LEVELS = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)  # 16 greys: 0, 17, ..., 255
_SAMPLE_FORMAT = {"u": 1, "i": 2, "f": 3}
_TYPES = {"u": (4, "I"), "i": (9, "i"), "f": (11, "f")}
TIFF_ORDER = {"<": b"II", ">": b"MM"}


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def png_file(x: np.ndarray, bits: int, more: bytes = b"") -> bytes:
    """A PNG of (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), with more chunks before its pixels."""
    height, width = x.shape[:2]
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[x[0, 0].size]
    if bits < 8:
        text = ["".join(f"{value:0{bits}b}" for value in row) for row in x]
        rows = [int(row, 2).to_bytes(len(row) // 8) for row in text]
    else:
        rows = [row.astype(f">u{bits // 8}").tobytes() for row in x]
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [chunk(b"IHDR", head), more, chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def directory(entries: Mapping[int, tuple[int, Sequence[float]]], order: str, at: int) -> bytes:
    """A TIFF directory at an offset: (type, values) by tag, in its order of tags."""
    codes = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 10: "i", 11: "f"}
    lines, values = b"", b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, (kind, numbers) in sorted(entries.items()):
        data = struct.pack(f"{order}{len(numbers)}{codes[kind]}", *numbers)
        count = len(numbers) // 2 if kind == 10 else len(numbers)
        lines += struct.pack(order + "HHI", tag, kind, count)
        if len(data) <= 4:
            lines += data.ljust(4, b"\0")
        else:
            lines += struct.pack(order + "I", behind + len(values))
            values += data
    return struct.pack(order + "H", len(entries)) + lines + bytes(4) + values


def block(entries: Mapping[int, tuple[int, Sequence[float]]], order: str = "<") -> bytes:
    """A TIFF file without pixels, as EXIF is."""
    return TIFF_ORDER[order] + struct.pack(order + "HI", 42, 8) + directory(entries, order, 8)


def tiff_file(
    x: np.ndarray,
    white_is_zero: bool = False,
    span: tuple[float, float] | None = None,
    order: Literal["<", ">"] = "<",
    compressed: bool = False,
    more: Mapping[int, tuple[int, Sequence[float]]] | None = None,
) -> bytes:
    """A TIFF of (H, W) or (H, W, 3) of any type, with the range of its samples if there is one."""
    data = x.astype(x.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if compressed else data
    num = x[0, 0].size
    photometric = 2 if num == 3 else int(not white_is_zero)
    entries: dict[int, tuple[int, Sequence[float]]] = {
        **{256: (4, [x.shape[1]]), 257: (4, [len(x)]), 258: (3, [8 * x.dtype.itemsize] * num)},
        **{
            259: (3, [8 if compressed else 1]),
            262: (3, [photometric]),
        },
        **{273: (4, [8]), 277: (3, [num]), 278: (4, [len(x)]), 279: (4, [len(data)])},
        339: (3, [_SAMPLE_FORMAT[x.dtype.kind]]),
    }
    if span is not None:
        kind, _ = _TYPES[x.dtype.kind]
        entries |= {340: (kind, [span[0]]), 341: (kind, [span[1]])}
    entries |= more or {}
    data += bytes(-len(data) % 4)
    at = 8 + len(data)
    head = TIFF_ORDER[order] + struct.pack(order + "HI", 42, at)
    return head + data + directory(entries, order, at)
