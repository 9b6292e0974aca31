"""Decoding of uploads: what is converted, what is refused, and that nothing else happens."""

import asyncio
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from service.errors import InvalidImage, PayloadTooLarge, ServiceError
from service.media import encode
from service.media.decode import Decoded, Decoder
from tests.support.service.pictures import bomb, deep_png, file, pixels, png

GREY = Preprocessing(height=8, width=8)
RGB = Preprocessing(height=8, width=8, channels=3)
DECODER = Decoder(2**24, 1)
LARGE = file(Image.fromarray(pixels(100, 100)))


def decode(data: bytes, preprocessing: Preprocessing = GREY) -> Decoded:
    return asyncio.run(DECODER.decode([data], preprocessing))[0]


def test_an_image_that_fits_is_not_changed() -> None:
    decoded = decode(png())
    assert decoded.notes == ()
    assert np.array_equal(decoded.pixels, pixels()[None])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_lossless_format_gives_the_same_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(file(Image.fromarray(pixels()), kind, **options))
    assert np.abs(decoded.pixels.astype(int) - pixels()).max() <= 1


def test_jpeg_is_close() -> None:
    smooth = np.add.outer(np.arange(8), np.arange(8)).astype(np.uint8) * 15
    decoded = decode(file(Image.fromarray(smooth), "JPEG", quality=95))
    assert np.abs(decoded.pixels.astype(int) - smooth).max() < 10


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    decoded = decode(deep_png())
    assert np.array_equal(decoded.pixels, pixels()[None])
    assert any("I;16" in note for note in decoded.notes)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("preprocessing", [GREY, RGB])
def test_other_modes_are_converted_and_said_so(mode: str, preprocessing: Preprocessing) -> None:
    image = Image.fromarray(pixels()).convert(mode)
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    decoded = decode(file(image, kind), preprocessing)
    assert decoded.pixels.shape == (preprocessing.channels, 8, 8)
    native = (mode == "RGB" and preprocessing is RGB) or (mode == "1" and preprocessing is GREY)
    # A JPEG in YCbCr opens as RGB.
    assert bool(decoded.notes) != (native or (mode == "YCbCr" and preprocessing is RGB))


def test_transparency_is_laid_on_the_background() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    decoded = decode(file(clear))
    assert decoded.pixels.max() == 0
    assert any("transparency" in note for note in decoded.notes)


def test_another_size_is_fitted_and_said_so() -> None:
    decoded = decode(file(Image.new("L", (40, 20), 200)))
    assert any("40x20 to 8x8" in note for note in decoded.notes)


def test_the_first_frame_of_an_animation_is_used_and_said_so() -> None:
    frames = [Image.new("L", (8, 8), level) for level in (255, 0)]
    decoded = decode(file(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert any("first frame" in note for note in decoded.notes)
    assert decoded.pixels.min() == 255


def test_large_images_are_decoded_in_a_thread_with_the_same_result() -> None:
    large = pixels(600, 600)
    data = file(Image.fromarray(large))
    assert len(data) > 2**16
    expected, notes = GREY.apply(Image.fromarray(large))
    decoded = decode(data)
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.notes == notes


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text",
        png()[:60],
        LARGE[: len(LARGE) // 2],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        file(Image.fromarray(pixels()), "PPM"),
        b"GIF89a",
        b"BM" + bytes(60),
        file(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
        b"II*\x00\x08\x00\x00\x00" + bytes(8),
    ],
)
def test_what_is_no_image_is_refused_with_its_index(data: bytes) -> None:
    with pytest.raises(InvalidImage, match="image 0"):
        decode(data)


@pytest.mark.parametrize("size", [(20_000, 20_000), (65_535, 65_535), (5_000, 4_000)])
def test_bombs_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PayloadTooLarge, match="pixels"):
        decode(bomb(*size))


SOUND = [
    file(Image.fromarray(pixels(20, 30)), "PNG"),
    file(Image.fromarray(pixels(20, 30)), "JPEG"),
    file(Image.fromarray(pixels(20, 30)), "WEBP"),
    file(Image.fromarray(pixels(20, 30)), "GIF"),
    file(Image.fromarray(pixels(20, 30)), "BMP"),
    file(Image.fromarray(pixels(20, 30)), "TIFF", compression="tiff_lzw"),
    file(Image.fromarray(pixels(20, 30)), "TIFF", compression="tiff_adobe_deflate"),
    file(Image.fromarray(pixels(20, 30)).convert("P"), "TIFF"),
    deep_png(),
]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, len(SOUND) - 1),
    flips=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=12),
    end=st.integers(0, 5_000),
)
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(
    which: int, flips: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(SOUND[which])
    for position, value in flips:
        data[position % len(data)] = value
    kept = bytes(data[: end or None])
    try:
        decoded = decode(kept)
    except ServiceError:
        return
    assert decoded.pixels.shape == (1, 8, 8)


def test_a_grid_is_as_square_as_it_goes() -> None:
    tiles = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    canvas = encode.tiled(tiles)
    assert canvas.shape == encode.tiled_shape(5, (1, 4, 4)) == (1, 10, 16)
    assert canvas[0, 0, 0] == 0
    assert canvas[0, 0, 6] == 1
    assert canvas[0, 6, 6] == 4
    assert canvas[0, -1, -1] == 128


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    back = np.asarray(Image.open(io.BytesIO(encode.png(x))))
    assert np.array_equal(back.reshape(5, 7, channels).transpose(2, 0, 1), x)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_animations_keep_every_pixel_but_gifs_of_colours(
    channels: int, form: encode.Animated
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, channels, 5, 7), dtype=np.uint8)
    file = Image.open(io.BytesIO(encode.animated(x, form, [20, 30, 400])))
    for i, frame in enumerate(x):
        file.seek(i)
        back = np.asarray(file.convert("RGB")).transpose(2, 0, 1)
        assert np.abs(back - frame.astype(int)).max() <= (
            99 if (form, channels) == ("GIF", 3) else 0
        )
    assert file.info["loop"] == 0
    assert file.info["duration"] == 400


def test_a_zip_is_a_function_of_its_content() -> None:
    data = encode.zipped([("a.png", b"1"), ("b.png", b"2")])
    assert data == encode.zipped([("a.png", b"1"), ("b.png", b"2")])
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a.png", "b.png"]
