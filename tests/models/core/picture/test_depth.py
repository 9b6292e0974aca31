"""Deep pictures come out as the 8-bit ones that they show, or are refused for a reason."""

import struct
from typing import Literal

import numpy as np
import pytest

from models.core.picture.container import UnreadablePicture
from models.core.picture.decode import Picture, decode_picture
from models.core.picture.opened import FILE_FORMATS, open_picture
from tests.support.models.picture_files import LEVELS, chunk, png_file, tiff_file

WIDE = LEVELS.astype(np.uint16) * 257
COLOURS = np.stack([LEVELS, LEVELS.T, 255 - LEVELS], 2)
Order = Literal["<", ">"]
ORDERS = pytest.mark.parametrize("order", ["<", ">"])
COMPRESSED = pytest.mark.parametrize("compressed", [False, True])


def decoded(data: bytes, ground: int = 0) -> Picture:
    """In grey."""
    return decode_picture(open_picture(data, FILE_FORMATS), "L", ground)


def greys(data: bytes, ground: int = 0) -> np.ndarray:
    return np.asarray(decoded(data, ground).image)


@ORDERS
@COMPRESSED
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_sixteen_bits_are_the_same_picture_whichever_end_is_white(
    order: Order, compressed: bool, white_is_zero: bool
) -> None:
    stored = 65535 - WIDE if white_is_zero else WIDE
    picture = decoded(tiff_file(stored, white_is_zero, order=order, compressed=compressed))
    np.testing.assert_array_equal(np.asarray(picture.image), LEVELS)
    assert any("WhiteIsZero" in note for note in picture.notes) == white_is_zero


@COMPRESSED
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_thirty_two_unsigned_bits_reach_from_black_to_white(
    compressed: bool, white_is_zero: bool
) -> None:
    stored = LEVELS.astype(np.uint32) * 16_843_009
    stored = 2**32 - 1 - stored if white_is_zero else stored
    np.testing.assert_array_equal(
        greys(tiff_file(stored, white_is_zero, compressed=compressed)), LEVELS
    )


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.uint16, 0, 4080),
        (np.uint16, 510, 4590),
        (np.uint32, 0, 510),
        (np.int8, -128, 127),
        (np.int16, 0, 32640),
        (np.int16, -255, 255),
        (np.int32, -(2**31), 2**31 - 1),
        (np.float32, 0, 1),
        (np.float32, -1000, 1000),
    ],
)
def test_a_stated_range_is_black_to_white(dtype: type, low: float, high: float) -> None:
    for white_is_zero in (False, True):
        shown = 255.0 - LEVELS if white_is_zero else LEVELS.astype(np.float64)
        stored = low + shown * (high - low) / 255
        stored = stored if dtype is np.float32 else np.round(stored)
        picture = decoded(tiff_file(stored.astype(dtype), white_is_zero, (low, high)))
        np.testing.assert_array_equal(np.asarray(picture.image), LEVELS)
        assert any(f"from sample values {low:g} to {high:g}" in note for note in picture.notes)


def test_the_older_tags_of_the_range_count_too() -> None:
    """MinSampleValue and MaxSampleValue, of 12 bits in 16."""
    data = tiff_file(LEVELS.astype(np.uint16) * 16, more={280: (3, [0]), 281: (3, [4080])})
    np.testing.assert_array_equal(greys(data), LEVELS)


def test_values_outside_the_stated_range_are_black_or_white() -> None:
    stored = np.array([[-5, 0, 100, 105]], np.int16)
    assert greys(tiff_file(stored, span=(0, 100))).tolist() == [[0, 0, 255, 255]]


@ORDERS
@COMPRESSED
def test_deep_colours_have_a_stated_range(order: Order, compressed: bool) -> None:
    data = tiff_file(
        COLOURS.astype(np.uint16) * 16, span=(0, 4080), order=order, compressed=compressed
    )
    picture = decode_picture(open_picture(data), "RGB", 0)
    np.testing.assert_array_equal(np.asarray(picture.image), COLOURS)


@ORDERS
@COMPRESSED
def test_deep_colours_keep_their_upper_bits_and_say_so(order: Order, compressed: bool) -> None:
    stored = COLOURS.astype(np.uint16) << 8 | 77
    picture = decode_picture(
        open_picture(tiff_file(stored, order=order, compressed=compressed)), "RGB", 0
    )
    np.testing.assert_array_equal(np.asarray(picture.image), COLOURS)
    assert picture.notes == ("the upper 8 of 16 bits are kept",)
    same = decode_picture(open_picture(png_file(stored, 16)), "RGB", 0)
    np.testing.assert_array_equal(np.asarray(same.image), COLOURS)
    assert same.notes == picture.notes


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
def test_numbers_without_a_known_range_are_refused(dtype: type) -> None:
    with pytest.raises(UnreadablePicture, match="no stated range"):
        decoded(tiff_file(LEVELS.astype(dtype)))


@pytest.mark.parametrize("span", [(5, 5), (9, 3)])
def test_a_range_without_greys_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(UnreadablePicture, match="sample values from"):
        decoded(tiff_file(WIDE, span=span))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_is_refused(wrong: float) -> None:
    with pytest.raises(UnreadablePicture, match="no finite numbers"):
        decoded(tiff_file(np.full((4, 4), wrong, np.float32), span=(0, 1)))


def test_what_pillow_would_read_as_something_else_is_refused() -> None:
    with pytest.raises(UnreadablePicture, match="separate planes"):
        decoded(tiff_file(COLOURS.astype(np.uint16), more={284: (3, [2])}))
    with pytest.raises(UnreadablePicture, match="big-endian"):
        decoded(tiff_file(WIDE.astype(np.int16), span=(0, 9), order=">", compressed=True))
    with pytest.raises(UnreadablePicture, match="sample format 6"):
        decoded(tiff_file(WIDE, more={339: (3, [6])}))


def test_a_transparent_deep_grey_shows_the_background_and_its_neighbour_does_not() -> None:
    stored = np.array([[0x1234, 0x1235, 0xFFFF, 0]], np.uint16)
    data = png_file(stored, 16, chunk(b"tRNS", struct.pack(">H", 0x1234)))
    assert greys(data, ground=200).tolist() == [[200, 0x12, 255, 0]]
    assert "transparency laid on grey level 200" in decoded(data, 200).notes


def test_a_transparent_deep_colour_shows_the_background_and_its_neighbour_does_not() -> None:
    stored = np.full((1, 2, 3), 0x1234, np.uint16)
    stored[0, 1, 2] += 1
    data = png_file(stored, 16, chunk(b"tRNS", struct.pack(">HHH", *[0x1234] * 3)))
    assert greys(data, ground=200).tolist() == [[200, 0x12]]
    assert "scaled from 16 to 8 bits" in decoded(data).notes


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_transparent_shallow_grey_shows_the_background(bits: int) -> None:
    white = 2**bits - 1
    stored = np.tile(np.array([white, 0], np.uint8), (2, 8))
    data = png_file(stored, bits, chunk(b"tRNS", struct.pack(">H", white)))
    assert greys(data, ground=99)[0, :2].tolist() == [99, 0]


def test_deep_alpha_is_laid_on_the_background() -> None:
    stored = np.zeros((1, 2, 2), np.uint16)
    stored[0, 1, 1] = 65535
    assert greys(png_file(stored, 16), ground=50).tolist() == [[50, 0]]


@pytest.mark.parametrize("white", [65535, 4095, 255])
def test_a_grey_map_of_any_depth_reaches_white(white: int) -> None:
    stored = np.round(LEVELS / 255 * white)
    body = stored.astype(">u2" if white > 255 else "u1").tobytes()
    np.testing.assert_array_equal(greys(b"P5 4 4 %d\n" % white + body), LEVELS)
