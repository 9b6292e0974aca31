"""What of a file reaches a decoder, how it is turned, and which structures are refused unread."""

import io
import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from models.core.picture.bmp import MAX_RUN_LENGTH_PIXELS
from models.core.picture.container import MAX_PARTS, TooManyPixels, UnreadablePicture
from models.core.picture.decode import decode_picture
from models.core.picture.gif import MAX_EXTENSIONS
from models.core.picture.jpeg import MAX_SCANS
from models.core.picture.opened import open_picture
from models.core.picture.tiff import MAX_STRIPS
from tests.support.models.picture_files import LEVELS, block, chunk, png_file, tiff_file

ORIENTATION = 0x0112
SIX = {ORIENTATION: (3, [6])}


def file(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    data = io.BytesIO()
    (image or Image.fromarray(LEVELS)).save(data, kind, **options)
    return data.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_exif(kind: str, exif: bytes) -> bytes:
    """A picture with any EXIF block, which no writer has to understand."""
    if kind == "JPEG":
        plain = file("JPEG", quality=100)
        return plain[:2] + segment(0xE1, b"Exif\0\0" + exif) + plain[2:]
    if kind == "PNG":
        return png_file(LEVELS, 8, chunk(b"eXIf", exif))
    return file("WEBP", lossless=True, exif=exif)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {0x0102: (8, [-5])},
        {0x8298: (11, [1.5])},
        {0x010E: (10, [5, 10])},
        {0x8769: (4, [8])},
        {0x8825: (4, [99_999])},
        {0x9204: (10, [-2, 0])},
    ],
    ids=["plain", "negative", "float", "rational", "loop", "beyond", "divided by 0"],
)
def test_odd_tags_beside_the_orientation_stop_nothing(odd: Any) -> None:
    for kind, order in itertools.product(("JPEG", "PNG", "WEBP"), "<>"):
        container = open_picture(with_exif(kind, block(SIX | odd, order)))
        assert container.orientation == 6, (kind, order)
        picture = decode_picture(container, "L", 0)
        assert picture.notes[0] == "turned upright by its EXIF orientation"
        turned = np.asarray(picture.image).astype(int)
        most = 4 if kind == "JPEG" else 0
        assert np.abs(turned - np.rot90(LEVELS, -1)).max() <= most, (kind, order)


@pytest.mark.parametrize(
    "exif",
    [
        *(b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0"),
        block({ORIENTATION: (3, [9])}),
        block({ORIENTATION: (11, [6.0])}),
        block(SIX)[:-12],
    ],
)
def test_exif_that_says_nothing_turns_nothing(exif: bytes) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        assert open_picture(with_exif(kind, exif)).orientation == 1, kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_by_its_own_tag(orientation: int) -> None:
    picture = decode_picture(
        open_picture(tiff_file(LEVELS, more={ORIENTATION: (3, [orientation])})), "L", 0
    )
    turned = {1: LEVELS, 2: LEVELS[:, ::-1], 3: LEVELS[::-1, ::-1], 4: LEVELS[::-1]}
    turned |= {5: LEVELS.T, 6: np.rot90(LEVELS, -1), 7: LEVELS[::-1, ::-1].T, 8: np.rot90(LEVELS)}
    np.testing.assert_array_equal(np.asarray(picture.image), turned[orientation])


TEXT = zlib.compress(bytes(2**20), 9)


def test_texts_profiles_and_frames_reach_no_decoder() -> None:
    texts = b"".join(chunk(b"zTXt", b"k%d\0\0" % i + TEXT) for i in range(60))
    profiles = b"".join(chunk(b"iCCP", b"k\0\0" + TEXT) for _ in range(60))
    inflating = png_file(LEVELS, 8, texts + profiles + chunk(b"iTXt", b"k\0\1\0\0\0" + TEXT))
    assert open_picture(inflating).data == png_file(LEVELS, 8)
    plain = file("JPEG")
    many = segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) * 40 + segment(0xFE, bytes(9_000))
    assert open_picture(plain[:2] + many + plain[2:] + b"behind" * 99).data == plain
    frames = [Image.fromarray(np.roll(LEVELS, i)) for i in range(3)]
    for kind in ("GIF", "TIFF", "PNG"):
        moving = open_picture(file(kind, frames[0], save_all=True, append_images=frames[1:]))
        assert moving.has_more_frames
        np.testing.assert_array_equal(np.asarray(decode_picture(moving, "L", 0).image), LEVELS)
    tags = {700: (1, list(bytes(5_000))), 34675: (1, list(bytes(5_000))), 34665: (4, [8])}
    page = open_picture(tiff_file(LEVELS, more=tags))
    with Image.open(io.BytesIO(page.data)) as image:
        assert isinstance(image, TiffImageFile)
        assert not tags.keys() & image.tag_v2.keys()


def progressive(num_scans: int) -> bytes:
    """A progressive JPEG of one component: the scan of its means again and again."""
    data = file("JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff\xda", start + 2) if data.count(b"\xff\xda") > 1 else len(data) - 2
    tables = data.index(b"\xff\xc4", start) if b"\xff\xc4" in data[start:] else end
    return data[:start] + data[start : min(tables, end)] * num_scans + b"\xff\xd9"


def run_lengths(width: int, height: int, codes: bytes) -> bytes:
    """A BMP of run lengths."""
    head = struct.pack("<IHHI", 0, 0, 0, 1078)
    head += struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + head + bytes(1024) + codes


def test_structures_that_cost_more_than_their_pixels_are_refused() -> None:
    gif, offsets = file("GIF"), [8] * (MAX_STRIPS + 1)
    start = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    refused = {
        "scans": progressive(MAX_SCANS + 1),
        "chunks": png_file(LEVELS, 8, chunk(b"prVt", b"") * MAX_PARTS),
        "segments": file("JPEG")[:2] + segment(0xFE, b"") * MAX_PARTS + file("JPEG")[2:],
        "blocks before": gif[:start] + b"\x21\xfe\x01a\0" * MAX_EXTENSIONS + gif[start:],
        "run lengths": run_lengths(MAX_RUN_LENGTH_PIXELS + 1, 1, b"\0\1"),
        "strips or tiles": tiff_file(LEVELS, more={273: (4, offsets), 279: (4, offsets)}),
        "strips of more bytes": tiff_file(LEVELS, more={273: (4, [8] * 99), 279: (4, [64] * 99)}),
        "tiles of": tiff_file(LEVELS, more={322: (4, [2**15]), 323: (4, [2**15])}),
        "tag 320 of": tiff_file(LEVELS, more={320: (4, list(range(20_000)))}),
    }
    for reason, data in refused.items():
        with pytest.raises(UnreadablePicture, match=reason):
            open_picture(data)
    assert open_picture(progressive(MAX_SCANS)).width == 4


def test_run_lengths_are_read_no_further_than_their_pixels() -> None:
    endless = run_lengths(4, 4, b"\1\0" * 100_000)
    assert len(open_picture(endless).data) < 1300


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 5000, 5000, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", b""),
        b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xfe\x3f\0" * 2,
        run_lengths(5000, -5000, b"")[:30] + bytes(4) + run_lengths(5000, -5000, b"")[34:],
        b"GIF89a" + struct.pack("<HHBBB", 5000, 5000, 0, 0, 0) + b"," + bytes(9) + b"\2\0",
        tiff_file(LEVELS, more={256: (4, [5000]), 257: (4, [5000])}),
        segment(0xC0, struct.pack(">BHHB", 8, 5000, 5000, 1)).join([b"\xff\xd8", b"\xff\xda\0\2"]),
    ],
    ids=["PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG"],
)
def test_too_many_pixels_are_refused_by_the_header(data: bytes) -> None:
    with pytest.raises(TooManyPixels, match="at most 16777216 pixels"):
        open_picture(data, max_pixels=2**24)


def test_a_second_header_hides_no_pixels() -> None:
    head = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    with pytest.raises(UnreadablePicture, match="two headers"):
        open_picture(png_file(LEVELS, 8, chunk(b"IHDR", head)))
    large, small = (segment(0xC0, struct.pack(">BHHB", 8, side, side, 1)) for side in (5000, 8))
    opened = open_picture(b"\xff\xd8" + large + small + b"\xff\xda\0\2")
    assert (opened.width, opened.height) == (5000, 5000)


def test_a_format_that_is_not_asked_for_is_refused_by_name() -> None:
    data = b"P5 1 1 255\n\0"
    assert open_picture(data, ("PPM",)).format == "PPM"
    with pytest.raises(UnreadablePicture, match="accepted are PNG, JPEG"):
        open_picture(data)
    with pytest.raises(UnreadablePicture, match="empty"):
        open_picture(b"")
