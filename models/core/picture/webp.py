"""WebP: the size of the canvas before it is made, and the orientation."""

import struct

from models.core.picture.container import MAX_PARTS, Container, UnreadablePicture
from models.core.picture.directory import orientation_of

_MAX_EXIF_BYTES = 2**16


def webp(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    at, num, orientation, num_frames = 12, 0, 1, 0
    size = (0, 0)
    while at + 8 <= len(data):
        num += 1
        if num > MAX_PARTS:
            raise UnreadablePicture(f"more than {MAX_PARTS} chunks")
        kind, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + min(length, 10)]
        if size == (0, 0):
            size = _size(kind, body)
        if kind == b"EXIF" and length <= _MAX_EXIF_BYTES:
            orientation = orientation_of(data[at + 8 : at + 8 + length])
        num_frames += kind == b"ANMF"
        at += 8 + length + length % 2
    return Container("WEBP", data, *size, orientation, num_frames > 1)


def _size(kind: bytes, body: bytes) -> tuple[int, int]:
    """Width and height by the chunk that says them, (0, 0) by others."""
    if kind == b"VP8X" and len(body) == 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and len(body) >= 5:
        packed = int.from_bytes(body[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(body) == 10:
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
