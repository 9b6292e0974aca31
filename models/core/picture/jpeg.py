"""JPEG: the segments that pixels are made of, and no more scans than an encoder has use for."""

import math
import re
import struct

from models.core.picture.container import MAX_PARTS, Container, UnreadablePicture
from models.core.picture.directory import first_directory, orientation_of

MAX_SCANS = 64
"""Each is a pass over all pixels; the usual progressive script has 10, one for each component 4."""
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF}
_COLOURS = {0xE0, 0xEE}
"""JFIF and Adobe: how the components are colours."""
_ALONE = {0x00, 0x01, *range(0xD0, 0xD9), 0xFF}
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NUM_PICTURES = 0xB001


def jpeg(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    view, kept = memoryview(data), [memoryview(b"\xff\xd8")]
    at, num, num_scans = 2, 0, 0
    size, orientation, has_more_frames = (0, 0), None, False
    while (at := data.find(b"\xff", at)) >= 0 and at + 2 <= len(data):
        marker = data[at + 1]
        if marker in _ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            kept.append(view[at : at + 2])
            break
        num += 1
        if num > MAX_PARTS:
            raise UnreadablePicture(f"more than {MAX_PARTS} segments")
        if at + 4 > len(data):
            break
        body = at + 4
        end = at + 2 + int.from_bytes(data[at + 2 : body])
        if marker == 0xDA:
            num_scans += 1
            if num_scans > MAX_SCANS:
                raise UnreadablePicture(f"more than {MAX_SCANS} scans")
            found = _MARKER.search(data, end)
            end = found.start() if found else len(data)
            kept.append(view[at:end])
        elif marker in _FRAMES or marker in _TABLES or marker in _COLOURS:
            kept.append(view[at:end])
            if marker in _FRAMES and body + 5 <= len(data):
                height, width = struct.unpack_from(">HH", data, body + 1)
                # A second frame is an error, but not before the first one is read.
                size = max(size, (width, height), key=math.prod)
        elif marker == 0xE1 and orientation is None and data[body : body + 6] == b"Exif\0\0":
            orientation = orientation_of(data[body:end])
        elif marker == 0xE2 and data[body : body + 4] == b"MPF\0":
            has_more_frames = _has_more_pictures(data[body + 4 : end])
        at = end
    if not num_scans:
        raise UnreadablePicture("damaged: no pixels")
    whole = b"".join(kept)
    return Container("JPEG", whole, *size, orientation or 1, has_more_frames)


def _has_more_pictures(index: bytes) -> bool:
    """By the index of a file that holds several."""
    try:
        return first_directory(index).integer(_NUM_PICTURES, 1) > 1
    except UnreadablePicture:
        return False
