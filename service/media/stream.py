"""The format application/x-likely: coded images, and all that their decoder has to agree on.

Magic, format, model, version of its bundle, backend, event shape, levels, number of images, the
length of every segment, the segments, CRC-32 of all before it (little endian). Texts have their
length before them; numbers are LEB128, seven bits a byte and the lowest first.
"""

import zlib
from dataclasses import dataclass

from service.errors import DamagedStream, NotAStream, TooManyRows, UnknownStreamFormat

MAGIC = b"\xf5LK\n"
"""Its first byte is in no UTF-8 text, and its last one suffers where files are taken for text."""
FORMAT = 1
IMAGES_PER_SEGMENT = 16
"""Images that share one entropy coder; part of the format, so another number is another format."""
_CRC_BYTES, _VERSION_BYTES = 4, 6
_MAX_TEXT, _MAX_AXES, _MAX_NUMBER_BYTES = 64, 8, 5


@dataclass(frozen=True)
class Stream:
    """What a stream says, packed and unpacked."""

    model: str
    """Name of the bundle."""
    version: str
    """The version of that bundle, 12 hexadecimal digits."""
    backend: str
    """The arithmetic in which the probabilities were computed."""
    event_shape: tuple[int, ...]
    num_levels: int
    num_images: int
    segments: tuple[bytes, ...]
    """Codes of up to IMAGES_PER_SEGMENT images each; all but the last are full of them."""

    @property
    def needs(self) -> str:
        """The bundle that wrote the stream, as name@version."""
        return f"{self.model}@{self.version}"

    @property
    def payload_bytes(self) -> int:
        """The size of the codes alone."""
        return sum(map(len, self.segments))

    def pack(self) -> bytes:
        """The stream as bytes."""
        assert len(self.segments) == num_segments(self.num_images)
        assert len(self.version) == 2 * _VERSION_BYTES
        numbers = (
            len(self.event_shape),
            *self.event_shape,
            self.num_levels,
            self.num_images,
            *map(len, self.segments),
        )
        head = b"".join(
            (
                MAGIC,
                bytes((FORMAT,)),
                _text(self.model),
                bytes.fromhex(self.version),
                _text(self.backend),
                *map(_number, numbers),
            )
        )
        whole = head + b"".join(self.segments)
        return whole + zlib.crc32(whole).to_bytes(_CRC_BYTES, "little")


def num_segments(num_images: int) -> int:
    """Into how many segments so many images go."""
    return -(-num_images // IMAGES_PER_SEGMENT)


def unpack(data: bytes, max_images: int) -> Stream:
    """Read a stream; nothing is allocated on the word of a length in it.

    Raises NotAStream, UnknownStreamFormat, TooManyRows, or DamagedStream, which says what is wrong.
    """
    if not data.startswith(MAGIC):
        raise NotAStream(f"it begins with {data[: len(MAGIC)]!r}: accepted is {MAGIC!r}")
    if data[len(MAGIC) :][:1] > bytes((FORMAT,)):
        raise UnknownStreamFormat(f"format {data[len(MAGIC)]}: accepted is {FORMAT}")
    reader = _Reader(data, len(MAGIC), len(data) - _CRC_BYTES)
    if reader.take(1) != bytes((FORMAT,)):
        raise DamagedStream("there has never been a format 0")
    model, version, backend = reader.text(), reader.take(_VERSION_BYTES).hex(), reader.text()
    num_axes = reader.number()
    if num_axes > _MAX_AXES:
        raise DamagedStream(f"{num_axes} axes: accepted are at most {_MAX_AXES}")
    shape = tuple(reader.number() for _ in range(num_axes))
    num_levels, num_images = reader.number(), reader.number()
    if num_images == 0 or num_segments(num_images) > reader.num_left:
        raise DamagedStream(f"{num_images} images in {reader.num_left} bytes cannot be")
    if num_images > max_images:
        raise TooManyRows(f"{num_images} images: accepted are at most {max_images}")
    lengths = [reader.number() for _ in range(num_segments(num_images))]
    segments = tuple(reader.take(length) for length in lengths)
    if reader.num_left:
        raise DamagedStream(f"{reader.num_left} bytes too many")
    if zlib.crc32(data[:-_CRC_BYTES]).to_bytes(_CRC_BYTES, "little") != data[-_CRC_BYTES:]:
        raise DamagedStream("the checksum does not fit")
    return Stream(model, version, backend, shape, num_levels, num_images, segments)


class _Reader:
    """Takes the parts of a stream one after the other. Raises DamagedStream at its end."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.position, self.end = data, start, end

    @property
    def num_left(self) -> int:
        """Bytes before the end."""
        return self.end - self.position

    def take(self, num: int) -> bytes:
        """The next bytes."""
        if num > self.num_left:
            raise DamagedStream(f"truncated: at least {num - self.num_left} bytes are missing")
        self.position += num
        return self.data[self.position - num : self.position]

    def number(self) -> int:
        """LEB128 in its shortest form, so that a number has one spelling."""
        value = 0
        for i in range(_MAX_NUMBER_BYTES):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if i > 0 and byte == 0:
                    break
                return value
        raise DamagedStream("a number is too long")

    def text(self) -> str:
        """Printable ASCII with its length before it."""
        num = self.number()
        if num > _MAX_TEXT:
            raise DamagedStream(f"a name of {num} letters: accepted are at most {_MAX_TEXT}")
        letters = self.take(num)
        if not all(0x20 <= byte < 0x7F for byte in letters):
            raise DamagedStream("a name is not ASCII")
        return letters.decode("ascii")


def _number(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*digits, value))


def _text(value: str) -> bytes:
    assert len(value) <= _MAX_TEXT
    return _number(len(value)) + value.encode("ascii")
