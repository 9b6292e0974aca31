"""Pictures of every kind become the pixels a model was trained on, and each change is told."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.core.bundle.preprocess import Preprocessing
from models.core.picture.container import Container, UnreadablePicture
from models.core.picture.opened import open_picture

GREY = Preprocessing(4, 4)
COLOUR = Preprocessing(4, 4, channels=3)
LEVELS = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 4)  # 16 greys: 0, 17, ..., 255


def reopened(image: Image.Image, form: str = "PNG", **options: Any) -> Container:
    """As it arrives: through the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return open_picture(buffer.getvalue())


def applied(image: Image.Image | Container, to: Preprocessing = GREY) -> np.ndarray:
    """The pixels of the first channel."""
    pixels, _ = to.read(image) if isinstance(image, Container) else to.apply(image)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (to.channels, to.height, to.width)
    assert pixels.flags.c_contiguous
    return pixels[0]


def test_what_already_fits_is_untouched() -> None:
    pixels, notes = GREY.read(reopened(Image.fromarray(LEVELS)))
    np.testing.assert_array_equal(pixels[0], LEVELS)
    assert notes == ()
    colours = np.stack([LEVELS, LEVELS.T, 255 - LEVELS], 2)
    pixels, notes = COLOUR.read(reopened(Image.fromarray(colours)))
    np.testing.assert_array_equal(pixels, colours.transpose(2, 0, 1))
    assert notes == ()


@pytest.mark.parametrize("to", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (Image.fromarray(LEVELS).convert("P"), "P"),
        (Image.fromarray(LEVELS).convert("RGBA"), "RGBA"),
        (Image.fromarray(LEVELS).convert("LA"), "LA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mode_keeps_its_greys(image: Image.Image, mode: str, to: Preprocessing) -> None:
    assert image.mode == mode
    pixels, notes = to.apply(image)
    for channel in pixels:
        np.testing.assert_array_equal(channel, LEVELS)
    assert any(f"converted from mode {mode} to" in note for note in notes)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 255, 256, 257], [32768, 65534, 65535, 128]] * 2, np.uint16)
    image = reopened(Image.fromarray(deep))
    assert image.samples.bits == 16
    np.testing.assert_array_equal(applied(image), [[0, 1, 1, 1], [128, 255, 255, 0]] * 2)


def test_one_bit_is_black_and_white() -> None:
    bits = LEVELS > 100
    image = reopened(Image.fromarray(bits))
    assert image.samples.bits == 1
    np.testing.assert_array_equal(applied(image), bits * 255)
    assert GREY.read(image)[1] == ()
    assert COLOUR.read(image)[1] == ("converted from mode 1 to RGB",)


def test_colours_become_grey_by_their_luminance() -> None:
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0], colours[1], colours[2], colours[3] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 255
    assert applied(reopened(Image.fromarray(colours)))[:, 0].tolist() == [76, 150, 29, 255]


def test_cmyk_inks_are_subtractive() -> None:
    inks = np.zeros((4, 4, 4), np.uint8)
    inks[1] = (0, 0, 0, 255)
    inks[2] = (255, 255, 255, 0)
    inks[3] = (0, 0, 0, 128)
    image = Image.fromarray(inks, mode="CMYK")
    assert applied(image)[:, 0].tolist() == [255, 0, 0, 127]
    pixels, notes = COLOUR.read(reopened(image, "JPEG", quality=100))
    assert np.abs(pixels[:, :, 0].astype(int) - [[255, 0, 0, 127]] * 3).max() <= 2
    assert notes == ("converted from mode CMYK to RGB",)


def with_hole(mode: str, ground: int) -> Image.Image:
    """White pixels at the left, and at the right fully transparent ones of another colour."""
    image = Image.new("LA", (4, 4), (255, 255))
    image.paste((ground, 0), (2, 0, 4, 4))
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("background", [0, 40, 255])
def test_transparency_shows_the_background(mode: str, background: int) -> None:
    to = Preprocessing(4, 4, background=background)
    pixels, notes = to.read(reopened(with_hole(mode, 123)))
    assert pixels[0, 0].tolist() == [255, 255, background, background]
    assert f"transparency laid on grey level {background}" in notes


def test_half_transparent_pixels_are_mixed() -> None:
    image = Image.new("RGBA", (4, 4), (255, 255, 255, 128))
    assert applied(image).tolist() == [[128] * 4] * 4


def test_a_transparent_palette_entry_shows_the_background() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 10, 10, 200, 200, 200, 90, 90, 90])
    image.paste(1, (2, 0, 4, 4))
    for transparency in (1, bytes([255, 0, 255])):
        seen = reopened(image, transparency=transparency)
        found = applied(seen, Preprocessing(4, 4, background=33))
        assert found[0].tolist() == [10, 10, 33, 33]


@pytest.mark.parametrize(("mode", "key"), [("L", 200), ("RGB", (200, 200, 200))])
def test_a_transparent_colour_shows_the_background(mode: str, key: Any) -> None:
    image = Image.new("L", (4, 4), 10)
    image.paste(200, (2, 0, 4, 4))
    seen = reopened(image.convert(mode), transparency=key)
    to = Preprocessing(4, 4, channels=len(mode), background=77)
    assert applied(seen, to)[0].tolist() == [10, 10, 77, 77]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = reopened(Image.fromarray(LEVELS), exif=exif)
    # What the tag means, in words of NumPy: where the stored row 0 and column 0 belong.
    turned = {
        1: LEVELS,
        2: LEVELS[:, ::-1],
        3: LEVELS[::-1, ::-1],
        4: LEVELS[::-1],
        5: LEVELS.T,
        6: np.rot90(LEVELS, -1),
        7: LEVELS[::-1, ::-1].T,
        8: np.rot90(LEVELS, 1),
    }
    pixels, notes = GREY.read(stored)
    np.testing.assert_array_equal(pixels[0], turned[orientation])
    assert ("turned upright by its EXIF orientation" in notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, notes = GREY.read(reopened(Image.fromarray(LEVELS), exif=exif))
    np.testing.assert_array_equal(pixels[0], LEVELS)
    assert notes == ()


@pytest.mark.parametrize("background", [0, 99])
def test_a_picture_of_another_shape_keeps_its_proportions(background: int) -> None:
    to = Preprocessing(8, 8, background=background)
    wide, notes = to.apply(Image.new("L", (16, 8), 200))
    assert notes == ("resized from 16x8 to 8x8",)
    assert wide[0, :, 0].tolist() == [background] * 2 + [200] * 4 + [background] * 2
    tall = to.apply(Image.new("L", (8, 16), 200))[0]
    np.testing.assert_array_equal(tall[0], wide[0].T)
    colour = Preprocessing(8, 8, 3, background=background).apply(Image.new("RGB", (16, 8), 0))[0]
    assert colour[:, 0, 0].tolist() == [background] * 3


def test_sizes_of_models_need_not_be_square() -> None:
    to = Preprocessing(height=2, width=6)
    assert applied(Image.new("L", (3, 1), 50), to).tolist() == [[50] * 6] * 2
    assert applied(Image.new("L", (6, 6), 50), to).tolist() == [[0, 0, 50, 50, 0, 0]] * 2


def test_shrinking_averages_and_growing_repeats() -> None:
    fine = np.kron(LEVELS, np.ones((8, 8))).astype(np.uint8)
    small = applied(Image.fromarray(fine)).astype(int)
    assert np.abs(small[1:3, 1:3] - LEVELS[1:3, 1:3]).max() <= 6
    stripes = np.tile([0, 255], (8, 4)).astype(np.uint8)
    assert np.abs(applied(Image.fromarray(stripes)).astype(int)[:, 1:3] - 127.5).max() < 40
    np.testing.assert_array_equal(applied(Image.new("L", (1, 1), 77)), np.full((4, 4), 77))


@pytest.mark.parametrize("size", [(1000, 2), (2, 1000), (1, 400)])
def test_a_very_thin_picture_is_no_error(size: tuple[int, int]) -> None:
    # Less than half a pixel of it is left at this size: what remains is background.
    assert applied(Image.new("L", size, 200), Preprocessing(4, 4, background=9)).min() == 9


def test_inversion_comes_before_the_background() -> None:
    to = Preprocessing(4, 4, invert=True, background=20)
    pixels, notes = to.apply(Image.fromarray(LEVELS))
    np.testing.assert_array_equal(pixels[0], 255 - LEVELS)
    assert len(notes) == 1
    assert notes[0].startswith("inverted")
    assert applied(Image.new("L", (8, 4), 255), to)[:, 0].tolist() == [20, 0, 0, 20]
    hole = applied(with_hole("LA", 0), to)
    assert hole[0].tolist() == [0, 0, 20, 20]


def test_each_change_is_told_in_the_order_it_was_made() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = reopened(Image.new("RGBA", (8, 2), (9, 9, 9, 0)), exif=exif)
    _, notes = Preprocessing(4, 4, invert=True).read(image)
    starts = ["turned upright", "converted", "transparency", "inverted", "resized from 2x8 to 4x4"]
    assert [n.startswith(s) for n, s in zip(notes, starts, strict=True)] == [True] * 5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted are 1 and 3"):
        Preprocessing(4, 4, channels=2).apply(Image.new("L", (4, 4)))
    buffer = io.BytesIO()
    ImageOps.expand(Image.fromarray(LEVELS), 200).save(buffer, "PNG")
    with pytest.raises(UnreadablePicture, match="truncated"):
        GREY.read(open_picture(buffer.getvalue()[:-60]))
    with pytest.raises(UnreadablePicture, match="mode I"):
        GREY.apply(Image.fromarray(LEVELS.astype(np.int32)))
