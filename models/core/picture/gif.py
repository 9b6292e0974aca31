"""GIF: the first frame alone; comments and later frames are not read."""

import struct

from models.core.picture.container import Container, UnreadablePicture

MAX_EXTENSIONS = 1024
"""Blocks before and after the first frame that are looked through for another one."""
_CONTROL, _EXTENSION, _FRAME = 0xF9, 0x21, 0x2C


def gif(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    if len(data) < 13:
        raise UnreadablePicture("damaged: the header ends early")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _palette_bytes(flags)
    head, control, frame, has_more_frames = data[:at], b"", b"", False
    for _ in range(MAX_EXTENSIONS):
        kind = data[at : at + 1]
        if kind == bytes([_EXTENSION]):
            end = _after_blocks(data, at + 2)
            if data[at + 1 : at + 2] == bytes([_CONTROL]) and not frame:
                control = data[at:end]
            at = end
        elif kind == bytes([_FRAME]) and frame:
            has_more_frames = True
            break
        elif kind == bytes([_FRAME]):
            if at + 10 > len(data):
                break
            end = _after_blocks(data, at + 11 + _palette_bytes(data[at + 9]))
            frame, at = data[at:end], end
        elif kind in (b"", b";"):
            break
        else:  # between blocks some files hold bytes of nothing
            at += 1
    else:
        if not frame:
            raise UnreadablePicture(f"more than {MAX_EXTENSIONS} blocks before the first frame")
    if not frame:
        raise UnreadablePicture("damaged: no frame")
    left, top, columns, rows = struct.unpack_from("<HHHH", frame, 1)
    size = max(width, left + columns), max(height, top + rows)  # as Pillow takes it
    whole = b"".join([head, control, frame, b";"])
    return Container("GIF", whole, *size, has_more_frames=has_more_frames)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where the data blocks end, each of which begins with its length."""
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1
