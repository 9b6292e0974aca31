"""PNG: the chunks that pixels are made of; texts, profiles and other metadata are not read."""

import struct

from models.core.picture.container import MAX_PARTS, Container, Samples, UnreadablePicture
from models.core.picture.directory import orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"tRNS")
_END = struct.pack(">I4sI", 0, b"IEND", 0xAE426082)
_MAX_EXIF_BYTES = 2**16


def png(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    kept: list[bytes | memoryview] = [SIGNATURE]
    view, at, num = memoryview(data), len(SIGNATURE), 0
    header, orientation, key, num_frames = b"", 1, b"", 1
    has_pixels = False
    while at + 8 <= len(data):
        num += 1
        if num > MAX_PARTS:
            raise UnreadablePicture(f"more than {MAX_PARTS} chunks")
        length, kind = struct.unpack_from(">I4s", data, at)
        body, end = at + 8, at + 12 + length
        if kind == b"IEND":
            break
        if end > len(data):
            raise UnreadablePicture("damaged: image file is truncated")
        if kind == b"IHDR" and header:
            raise UnreadablePicture("damaged: two headers")
        if kind == b"IDAT" or (kind in _KEPT and not has_pixels):
            kept.append(view[at:end])
            has_pixels |= kind == b"IDAT"
        if kind == b"IHDR":
            header = data[body : body + length]
        elif kind == b"tRNS" and not has_pixels:
            key = data[body : body + min(length, 6)]
        elif kind == b"acTL" and length == 8 and not has_pixels:
            (num_frames,) = struct.unpack_from(">I", data, body)
        elif kind == b"eXIf" and length <= _MAX_EXIF_BYTES:
            orientation = orientation_of(data[body : body + length])
        at = end
    if len(header) != 13 or not has_pixels:
        raise UnreadablePicture("damaged: no header or no pixels")
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    transparent: tuple[int, ...] = ()
    if (colour, len(key)) in ((0, 2), (2, 6)):
        transparent = struct.unpack(f">{len(key) // 2}H", key)
        transparent = tuple(value & (2**bits - 1) for value in transparent)
    samples = Samples(bits, transparent=transparent)
    whole = b"".join([*kept, _END])
    return Container("PNG", whole, width, height, orientation, num_frames > 1, samples)
