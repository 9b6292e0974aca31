"""From an opened file to an 8-bit grey or RGB picture, with a note of each change."""

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image, UnidentifiedImageError

from models.core.picture.container import Container, TooManyPixels, UnreadablePicture
from models.core.picture.depth import shallow
from models.core.picture.opened import MAX_PIXELS, check_size

Mode = Literal["L", "RGB"]
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TAKEN = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


@dataclass(frozen=True)
class Picture:
    """A picture in the mode that was asked for."""

    image: Image.Image
    notes: tuple[str, ...]
    """What was done to make it so."""


def decode_picture(
    container: Container, mode: Mode, ground: int, max_pixels: int = MAX_PIXELS
) -> Picture:
    """The first frame, upright, in 8 bits a channel, laid on grey level `ground` where transparent.

    Raises UnreadablePicture, whatever the decoder raised.
    """
    try:
        image = Image.open(io.BytesIO(container.data), formats=(container.format,))
        check_size(image.width, image.height, max_pixels)
        image.load()
        return _decoded(image, container, mode, ground)
    except UnreadablePicture:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooManyPixels(f"accepted are at most {max_pixels} pixels") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture(f"damaged, or of an unknown kind of {container.format}") from error
    except Exception as error:  # decoders raise anything for files that are not what they claim
        reason = str(error) if str(error) else type(error).__name__
        raise UnreadablePicture(f"damaged: {reason}") from error


def flattened(image: Image.Image, mode: Mode, ground: int, notes: list[str]) -> Image.Image:
    """An 8-bit picture in another mode, laid on grey level `ground` where it is transparent.

    Raises UnreadablePicture for modes that say colours in another way or are deeper than 8 bits.
    """
    if image.mode not in _TAKEN:
        raise UnreadablePicture(
            f"pixels of mode {image.mode}: accepted are 8-bit greys and colours"
        )
    if image.has_transparency_data:
        below = Image.new("RGBA", image.size, (ground,) * 3 + (255,))
        image = Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
        notes.append(f"transparency laid on grey level {ground}")
    return image if image.mode == mode else image.convert(mode)


def _decoded(image: Image.Image, container: Container, mode: Mode, ground: int) -> Picture:
    notes = ["only the first frame is used"] if container.has_more_frames else []
    if container.orientation in _TURNS:
        notes.append("turned upright by its EXIF orientation")
    stored, is_keyed = image.mode, "transparency" in image.info
    # Black and white as greys are the same pixels in more bits.
    if is_keyed or (stored != mode and (stored, mode) != ("1", "L")):
        notes.append(f"converted from mode {stored} to {mode}")
    image = shallow(image, container, notes)
    if container.orientation in _TURNS:
        image = image.transpose(_TURNS[container.orientation])
    return Picture(flattened(image, mode, ground, notes), tuple(notes))
