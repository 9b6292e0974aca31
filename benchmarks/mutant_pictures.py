"""Broken pictures of every kind that is taken: sound files and what seeded damage makes of them."""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

_SIZE = (28, 28)
_PNG = b"\x89PNG\r\n\x1a\n"
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def sound() -> Mapping[str, bytes]:
    """Twelve kinds of files of one picture, by name."""
    grey = np.add.outer(np.arange(_SIZE[0]), 3 * np.arange(_SIZE[1])).astype(np.uint8)
    one = Image.fromarray(grey)
    colours = Image.merge("RGB", (one, one.rotate(90), one.rotate(180)))
    clear = colours.copy()
    clear.putalpha(one)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a picture"
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    frames = {"save_all": True, "append_images": [one.rotate(90)]}
    return {
        "grey.png": _file(one, "PNG"),
        "deep.png": _file(deep, "PNG"),
        "clear.png": _file(clear, "PNG", exif=exif),
        "palette.png": _file(colours.convert("P"), "PNG", transparency=3),
        "baseline.jpg": _file(colours, "JPEG", exif=exif),
        "progressive.jpg": _file(one, "JPEG", progressive=True, exif=exif),
        "lossy.webp": _file(colours, "WEBP", exif=exif),
        "moving.gif": _file(one, "GIF", **frames),
        "runs.bmp": _run_lengths(grey),
        "deep.tif": _file(deep, "TIFF", compression="tiff_adobe_deflate"),
        "pages.tif": _file(one, "TIFF", compression="tiff_lzw", exif=exif, **frames),
        "fax.tif": _file(one.convert("1"), "TIFF", compression="group4"),
    }


def mutants(num: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Damaged files, each by its name, kinds in turn; the same ones for the same seed."""
    files = sound()
    names = list(files)
    for i in range(num):
        name = names[i % len(names)]
        yield f"{i:05d}-{name}", mutant(files[name], np.random.default_rng([seed, i]))


def mutant(data: bytes, random: np.random.Generator) -> bytes:
    """One to three wounds: bits, bytes and numbers changed, parts cut out, copied or cut off.

    Every other PNG has its checksums made right, or its decoder would never see the damage.
    """
    damaged = bytearray(data)
    for _ in range(random.integers(1, 4)):
        # Structure stands in front: half of the wounds are there.
        reach = min(len(damaged), 256) if random.random() < 0.3 else len(damaged)
        at, length = int(random.integers(reach)), int(random.integers(1, 33))
        kind = random.integers(7)
        if kind == 0:
            damaged[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            damaged[at] = _INTERESTING[random.integers(len(_INTERESTING))]
        elif kind == 2:
            number = int(random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1]))
            damaged[at : at + 4] = struct.pack(str(random.choice(["<I", ">I"])), number)
        elif kind == 3:
            damaged[at : at + 2] = random.bytes(2)
        elif kind == 4:
            del damaged[at : at + length]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[max(at, 16) :]
        if not damaged:
            break
    if data.startswith(_PNG) and random.random() < 0.5:
        _sum_again(damaged)
    return bytes(damaged)


def _sum_again(damaged: bytearray) -> None:
    """Right checksums for the chunks of a PNG, as long as there are whole ones."""
    at = len(_PNG)
    while at + 12 <= len(damaged):
        end = at + 8 + int.from_bytes(damaged[at : at + 4])
        if end + 4 > len(damaged):
            break
        damaged[end : end + 4] = struct.pack(">I", zlib.crc32(damaged[at + 4 : end]))
        at = end + 4


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def _run_lengths(grey: np.ndarray) -> bytes:
    """A BMP in runs of one pixel, which no writer of Pillow's makes."""
    height, width = grey.shape
    rows = [b"".join(b"\1" + bytes([value]) for value in row) + b"\0\0" for row in grey[::-1]]
    codes = b"".join(rows) + b"\0\1"
    palette = b"".join(bytes([level] * 3) + b"\0" for level in range(256))
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(codes), 0, 0, 256, 0)
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + info + palette + codes
