"""Deep pictures as 8-bit ones: by what their files say of black and white, or not at all."""

import io
import sys

import numpy as np
from PIL import Image

from models.core.picture.container import Container, Samples, UnreadablePicture

_CHUNK = 2**20
"""Values that are scaled at once: as float64 they take eight times their pixels."""
_PPM_BITS = 16
"""To which Pillow scales those of more than 8."""


def shallow(image: Image.Image, container: Container, notes: list[str]) -> Image.Image:
    """The decoded picture in 8 bits a channel, perhaps with an alpha channel or a transparent key.

    Notes tell what was done. Raises UnreadablePicture if the file does not say which numbers are
    black and white.
    """
    samples = container.samples
    if container.format == "PPM" and image.mode.startswith("I"):
        samples = Samples(_PPM_BITS)
    if not samples.are_deep:
        return _with_key_of_eight_bits(image, samples)
    if image.mode in ("I", "F", "L") or image.mode.startswith("I;"):
        return _grey(image, samples, notes)
    if samples.kind != "unsigned" or samples.bits != 16:
        raise UnreadablePicture(f"{samples.bits}-bit {samples.kind} {image.mode} pixels")
    if samples.high is not None or samples.transparent:
        return _colour(image, container, notes)
    notes.append("the upper 8 of 16 bits are kept")
    return image


def _with_key_of_eight_bits(image: Image.Image, samples: Samples) -> Image.Image:
    """Pillow widens greys of 2 and 4 bits to 8, but not the one that is transparent."""
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and samples.transparent:
        image.info["transparency"] = samples.transparent[0] * 255 // (2**samples.bits - 1)
    elif image.mode == "RGB" and samples.transparent:
        image.info["transparency"] = samples.transparent
    return image


def _grey(image: Image.Image, samples: Samples, notes: list[str]) -> Image.Image:
    values = np.asarray(image)
    if samples.kind == "unsigned" and samples.bits == 32:
        values = values.view(np.uint32)
    elif samples.kind == "signed" and samples.bits == 8:
        values = values.view(np.int8)
    grey = Image.fromarray(_scaled(values, samples, notes))
    if not samples.transparent:
        return grey
    shown = np.where(values == samples.transparent[0], 0, 255).astype(np.uint8)
    return Image.merge("LA", (grey, Image.fromarray(shown)))


def _colour(image: Image.Image, container: Container, notes: list[str]) -> Image.Image:
    """With all 16 bits, which Pillow gives by halves."""
    if image.mode != "RGB":
        raise UnreadablePicture(f"a range of sample values of {image.mode} pixels")
    lower = _lower_bytes(container)
    values = np.asarray(image).astype(np.uint16) << 8 | np.asarray(lower)
    colours = Image.fromarray(_scaled(values, container.samples, notes))
    if container.samples.high is None:
        notes.append("scaled from 16 to 8 bits")
    if container.samples.transparent:
        hidden = (values == np.array(container.samples.transparent, np.uint16)).all(2)
        colours.putalpha(Image.fromarray(np.where(hidden, 0, 255).astype(np.uint8)))
    return colours


def _lower_bytes(container: Container) -> Image.Image:
    """The picture as if its 16-bit numbers were in the other byte order."""
    image = Image.open(io.BytesIO(container.data), formats=(container.format,))
    native = "L" if sys.byteorder == "little" else "B"
    tiles = []
    for tile in image.tile:
        args = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        mode, _, order = str(args[0]).partition(";16")
        other = "B" if order.replace("N", native) == "L" else "L"
        swapped = (f"{mode};16{other}", *args[1:])
        tiles.append(tile._replace(args=swapped if isinstance(tile.args, tuple) else swapped[0]))
    image.tile = tiles
    image.load()
    return image


def _scaled(values: np.ndarray, samples: Samples, notes: list[str]) -> np.ndarray:
    """Linearly from black to white, uint8. Shapes: (H, W[, 3]) -> the same."""
    low, high = _range(samples, notes)
    grey = np.empty(values.shape, np.uint8)
    rows = max(1, _CHUNK // max(1, values[0].size))
    for start in range(0, len(values), rows):
        part = (values[start : start + rows].astype(np.float64) - low) * (255 / (high - low))
        if not np.isfinite(part).all():
            raise UnreadablePicture("pixels that are no finite numbers")
        grey[start : start + rows] = np.clip(part, 0, 255).round()
    if samples.white_is_zero:
        notes.append("inverted: 0 is white in this file (WhiteIsZero)")
        return 255 - grey
    return grey


def _range(samples: Samples, notes: list[str]) -> tuple[float, float]:
    """What is black and what is white. Raises UnreadablePicture if nobody knows."""
    low, high = samples.low, samples.high
    if samples.kind == "unsigned":
        white = float(2**samples.bits - 1)
        if high is None or (high == white and not low):
            return 0.0, white
        low = low or 0.0
    elif low is None or high is None:
        kind = "floating-point" if samples.kind == "float" else f"signed {samples.bits}-bit"
        raise UnreadablePicture(
            f"{kind} pixels have no stated range: accepted are unsigned ones of up to 32 bits, "
            "tags SMinSampleValue and SMaxSampleValue for black and white, or an array as upload"
        )
    if not low < high:
        raise UnreadablePicture(f"sample values from {low:g} to {high:g}")
    notes.append(f"scaled from sample values {low:g} to {high:g}, as the file states them")
    return low, high
