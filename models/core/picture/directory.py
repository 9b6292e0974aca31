"""The first directory of a TIFF file or of an EXIF block, and no more of it than is asked for."""

import struct
from dataclasses import dataclass

from models.core.picture.container import UnreadablePicture

_CODES = {
    **{1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii"},
    **{11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"},
}
_WIDTHS = {kind: struct.calcsize("=" + code) for kind, code in _CODES.items()}
_INTEGERS = (1, 3, 4, 6, 8, 9, 13, 16, 17, 18)
_NUMBERS = (*_INTEGERS, 11, 12)
_MAX_ENTRIES = 4096
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Entry:
    """A tag: its type, how many values it has and where they are in the file."""

    kind: int
    count: int
    at: int
    raw: bytes
    """As the directory holds it."""

    @property
    def num_bytes(self) -> int:
        """Of all its values."""
        return self.count * _WIDTHS.get(self.kind, 1)


@dataclass(frozen=True)
class Directory:
    """The tags of the first picture in a file; of a tag that is given twice the first one."""

    data: bytes
    order: str
    """`<` or `>`, as struct has it."""
    is_big: bool
    """A BigTIFF: offsets of 8 bytes."""
    entries: dict[int, Entry]
    has_next: bool
    """Whether another directory follows, of another page or of a preview."""

    def numbers(self, tag: int, limit: int = 16) -> tuple[float, ...]:
        """The first values of a tag; none if it is missing, outside the file or no numbers."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _NUMBERS:
            return ()
        num = min(entry.count, limit)
        code, width = _CODES[entry.kind], _WIDTHS[entry.kind]
        part = self.data[entry.at : entry.at + num * width]
        return struct.unpack(f"{self.order}{num}{code}", part) if len(part) == num * width else ()

    def integer(self, tag: int, default: int) -> int:
        """The first value of a tag of whole numbers."""
        entry, numbers = self.entries.get(tag), self.numbers(tag, 1)
        return int(numbers[0]) if entry and numbers and entry.kind in _INTEGERS else default

    @property
    def orientation(self) -> int:
        """By the tag that EXIF shares with TIFF; 1, upright, if it says nothing that means one."""
        turned = self.integer(ORIENTATION, 1)
        return turned if 1 <= turned <= 8 else 1


def first_directory(data: bytes) -> Directory:
    """Raises UnreadablePicture if there is none or it ends outside the file."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        if order is None:
            raise UnreadablePicture("damaged: no byte order")
        (magic,) = struct.unpack_from(order + "H", data, 2)
        if magic not in (42, 43):
            raise UnreadablePicture("damaged: no TIFF directory")
        is_big = magic == 43
        head, line, link = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
        (at,) = struct.unpack_from(order + link, data, 8 if is_big else 4)
        (num,) = struct.unpack_from(order + head, data, at)
        if num > _MAX_ENTRIES:
            raise UnreadablePicture(f"{num} tags: accepted are at most {_MAX_ENTRIES}")
        at += struct.calcsize("=" + head)
        width, inline = struct.calcsize("=" + line), 8 if is_big else 4
        entries = dict[int, Entry]()
        for start in range(at, at + num * width, width):
            tag, kind, count, value = struct.unpack_from(order + line, data, start)
            place = start + width - inline
            if count * _WIDTHS.get(kind, 1) > inline:
                (place,) = struct.unpack(order + link, value)
            entries.setdefault(tag, Entry(kind, count, place, data[start : start + width]))
        tail = data[at + num * width :][: struct.calcsize("=" + link)]
    except (struct.error, OverflowError) as error:
        raise UnreadablePicture("damaged: the directory ends outside the file") from error
    return Directory(data, order, is_big, entries, any(tail))


def orientation_of(exif: bytes) -> int:
    """Of an EXIF block, with or without its `Exif` in front; 1 if it cannot be read."""
    try:
        return first_directory(exif.removeprefix(b"Exif\0\0")).orientation
    except UnreadablePicture:
        return 1
