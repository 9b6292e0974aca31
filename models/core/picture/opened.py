"""The one way in for a picture's file: which format it is, and whether it may be decoded."""

from collections.abc import Callable, Collection, Mapping

from models.core.picture.bmp import bmp
from models.core.picture.container import Container, TooManyPixels, UnreadablePicture
from models.core.picture.gif import gif
from models.core.picture.jpeg import jpeg
from models.core.picture.png import SIGNATURE, png
from models.core.picture.tiff import tiff
from models.core.picture.webp import webp

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
FILE_FORMATS = (*FORMATS, "PPM")
"""What is taken of folders: PBM, PGM and PPM too."""
MAX_PIXELS = 178_956_970
"""Of a picture in a folder, as Pillow has it."""
_OPENERS: Mapping[str, Callable[[bytes], Container]] = {
    **{"PNG": png, "JPEG": jpeg, "WEBP": webp, "GIF": gif, "BMP": bmp, "TIFF": tiff},
    # Its size is a text that Pillow reads with the pixels untouched.
    "PPM": lambda data: Container("PPM", data, 0, 0),
}
_HEADS = {
    **{SIGNATURE: "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"},
    **{b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF"},
    **{b"P%d" % kind: "PPM" for kind in range(1, 7)},
}


def open_picture(
    data: bytes, formats: Collection[str] = FORMATS, max_pixels: int = MAX_PIXELS
) -> Container:
    """What of a file is decoded, found without decoding any of it, in time linear in its bytes.

    Raises UnreadablePicture; TooManyPixels for one whose header says so.
    """
    if not data:
        raise UnreadablePicture("empty")
    kind = "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""
    kind = kind or next((name for head, name in _HEADS.items() if data.startswith(head)), "")
    if kind not in formats:
        raise UnreadablePicture(f"accepted are {', '.join(formats)}")
    container = _OPENERS[kind](data)
    check_size(container.width, container.height, max_pixels)
    return container


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """Raises TooManyPixels."""
    if width * height > max_pixels:
        raise TooManyPixels(f"accepted are at most {max_pixels} pixels")
