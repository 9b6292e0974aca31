"""BMP: size and compression, so that run lengths cost no more than their pixels."""

import struct

from models.core.picture.container import Container, UnreadablePicture

MAX_RUN_LENGTH_PIXELS = 2**20
"""Of a picture in run lengths, since Pillow decodes them in Python."""
_RUN_LENGTHS = (1, 2)


def bmp(data: bytes) -> Container:
    """Raises UnreadablePicture."""
    try:
        start, header = struct.unpack_from("<II", data, 10)
        if header == 12:
            width, height = struct.unpack_from("<HH", data, 18)
            compression = 0
        else:
            width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error as error:
        raise UnreadablePicture("damaged: the header ends early") from error
    height = abs(height)
    if width <= 0:
        raise UnreadablePicture("damaged: no width")
    if compression in _RUN_LENGTHS:
        if width * height > MAX_RUN_LENGTH_PIXELS:
            raise UnreadablePicture(
                f"run lengths of more than {MAX_RUN_LENGTH_PIXELS} pixels: send it uncompressed"
            )
        # No run is longer than two bytes a pixel; each row and the picture end with two more.
        data = data[: start + 2 * width * height + 4 * height + 64]
    return Container("BMP", data, width, height)
