"""TIFF: the first page, with the tags that its pixels need and no others."""

import struct
from typing import Literal

from models.core.picture.container import Container, Samples, UnreadablePicture
from models.core.picture.directory import Directory, Entry, first_directory

MAX_STRIPS = 65_536
"""Strips or tiles of a page."""
_MAX_TILE_PIXELS = 2**20
_MAX_TAG_BYTES = 2**16
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _PLANAR = 256, 257, 258, 259, 262, 284
_LOW, _HIGH, _SIGNED_LOW, _SIGNED_HIGH, _SAMPLES, _FORMAT = 280, 281, 340, 341, 277, 339
_PLACES, _SIZES, _TILE_WIDTH, _TILE_LENGTH = (273, 324), (279, 325), 322, 323
_KEPT = {
    *(_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, 278, *_PLACES, *_SIZES),
    *(_SAMPLES, _PLANAR, 292, 293, 317, 320, _TILE_WIDTH, _TILE_LENGTH, 332, 338, _FORMAT, 347),
    *range(512, 522),
    *range(529, 533),
}
_KINDS: dict[int, Literal["unsigned", "signed", "float"]]
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}
_SEPARATE, _BLACK_IS_ZERO = 2, 1


def tiff(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    page = first_directory(data)
    kept = {tag: entry for tag, entry in page.entries.items() if tag in _KEPT}
    _check_sizes(page, kept)
    width, height = page.integer(_WIDTH, 0), page.integer(_LENGTH, 0)
    _check_tiles(page, width * height)
    samples = _samples(page)
    if samples.white_is_zero:
        # Pillow turns no deep greys: they are read as they are and turned as 8 bits.
        kept[_PHOTOMETRIC] = _short(page, _PHOTOMETRIC, _BLACK_IS_ZERO)
    whole = _with_one_page(page, kept)
    return Container("TIFF", whole, width, height, page.orientation, page.has_next, samples)


def _check_sizes(page: Directory, kept: dict[int, Entry]) -> None:
    for tag, entry in kept.items():
        if tag in (*_PLACES, *_SIZES):
            if entry.count > MAX_STRIPS:
                raise UnreadablePicture(f"more than {MAX_STRIPS} strips or tiles")
        elif entry.num_bytes > _MAX_TAG_BYTES:
            raise UnreadablePicture(f"tag {tag} of {entry.num_bytes} bytes")
        if entry.at + entry.num_bytes > len(page.data):
            raise UnreadablePicture(f"damaged: tag {tag} ends outside the file")
    for tag in _SIZES:
        # Strips that share their bytes would be decoded again and again.
        if sum(page.numbers(tag, MAX_STRIPS)) > 2 * len(page.data):
            raise UnreadablePicture("damaged: strips of more bytes than the file has")


def _check_tiles(page: Directory, num_pixels: int) -> None:
    tile = page.integer(_TILE_WIDTH, 0) * page.integer(_TILE_LENGTH, 0)
    if tile > max(_MAX_TILE_PIXELS, 2 * num_pixels):
        raise UnreadablePicture(f"tiles of {tile} pixels in a picture of {num_pixels}")


def _samples(page: Directory) -> Samples:
    """Raises UnreadablePicture for deep pixels that Pillow would read as something else."""
    bits = page.integer(_BITS, 1)
    number = page.integer(_FORMAT, 1)
    kind = _KINDS.get(number)
    if kind is None:
        raise UnreadablePicture(f"pixels of TIFF sample format {number}: accepted are 1, 2 and 3")
    samples = Samples(bits, kind)
    if not samples.are_deep:
        return samples
    low = page.numbers(_SIGNED_LOW) or page.numbers(_LOW)
    high = page.numbers(_SIGNED_HIGH) or page.numbers(_HIGH)
    if len({*low}) > 1 or len({*high}) > 1:
        raise UnreadablePicture("a range of sample values for each channel")
    num = page.integer(_SAMPLES, 1)
    if num > 1 and page.integer(_PLANAR, 1) == _SEPARATE:
        raise UnreadablePicture(f"{bits}-bit channels in separate planes")
    is_grey = page.integer(_PHOTOMETRIC, 0) in (0, 1)
    is_compressed = page.integer(_COMPRESSION, 1) != 1
    if is_compressed and page.order == ">" and (kind != "unsigned" or bits > 16):
        raise UnreadablePicture(f"compressed {kind} pixels of {bits} bits in big-endian order")
    return Samples(
        bits,
        kind,
        white_is_zero=is_grey and page.integer(_PHOTOMETRIC, 0) == 0,
        low=low[0] if low else None,
        high=high[0] if high else None,
    )


def _short(page: Directory, tag: int, value: int) -> Entry:
    raw = struct.pack(page.order + ("HHQH6x" if page.is_big else "HHIH2x"), tag, 3, 1, value)
    return Entry(3, 1, 0, raw)


def _with_one_page(page: Directory, kept: dict[int, Entry]) -> bytes:
    """The file with another directory, behind all else, so that no offset changes."""
    head, link, num = (b"", "Q", "Q") if page.is_big else (b"", "I", "H")
    head = page.data[: 8 if page.is_big else 4]
    padding = bytes(len(page.data) % 2)
    at = len(page.data) + len(padding)
    return b"".join(
        [
            head + struct.pack(page.order + link, at),
            memoryview(page.data)[len(head) + struct.calcsize("=" + link) :],
            padding + struct.pack(page.order + num, len(kept)),
            *(kept[tag].raw for tag in sorted(kept)),
            struct.pack(page.order + link, 0),
        ]
    )
