"""The stream format: what is packed is read again, and nothing else is read at all."""

import zlib
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.errors import DamagedStream, NotAStream, TooManyRows, UnknownStreamFormat
from service.media import stream as streams
from service.media.stream import FORMAT, IMAGES_PER_SEGMENT, MAGIC, Stream, num_segments, unpack

SOUND = Stream(
    model="pixelcnn_digits",
    version="0123456789ab",
    backend="fx1-8f3a21c0",
    event_shape=(1, 8, 8),
    num_levels=17,
    num_images=18,
    segments=(b"\1" + bytes(range(200)), b"\0\x80"),
)
TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=64)
NUMBERS = st.integers(0, 2**32)


@st.composite
def stream(draw: st.DrawFn) -> Stream:
    """Any stream that can be packed."""
    num_images = draw(st.integers(1, 100))
    num = num_segments(num_images)
    return Stream(
        model=draw(TEXTS),
        version=draw(st.binary(min_size=6, max_size=6)).hex(),
        backend=draw(TEXTS),
        event_shape=tuple(draw(st.lists(NUMBERS, max_size=8))),
        num_levels=draw(NUMBERS),
        num_images=num_images,
        segments=tuple(draw(st.lists(st.binary(), min_size=num, max_size=num))),
    )


def read(data: bytes) -> Stream:
    """With the limit of these tests."""
    return unpack(data, 1000)


def signed(body: bytes) -> bytes:
    """With a checksum that fits, whatever is before it."""
    return body + zlib.crc32(body).to_bytes(4, "little")


def head(*numbers: bytes, format_: int = FORMAT) -> bytes:
    """A stream up to the backend, and bytes instead of the rest."""
    texts = b"\1m" + bytes(6) + b"\1b"
    return signed(MAGIC + bytes((format_,)) + texts + b"".join(numbers))


@given(stream())
@settings(max_examples=100, deadline=None)
def test_what_is_packed_is_read_again(packed: Stream) -> None:
    assert read(packed.pack()) == packed


def test_the_bytes_of_the_format_stay_what_they_are() -> None:
    tiny = Stream("m", "0123456789ab", "fx1", (1, 8, 300), 2, 1, (b"code",))
    body = (
        b"\xf5LK\n\x01" b"\x01m" b"\x01\x23\x45\x67\x89\xab" b"\x03fx1"
        b"\x03\x01\x08\xac\x02" b"\x02" b"\x01" b"\x04" b"code"
    )  # fmt: skip
    assert tiny.pack() == signed(body)
    assert tiny.needs == "m@0123456789ab"
    assert tiny.payload_bytes == 4
    assert len(tiny.pack()) == 33


def test_images_go_into_as_few_segments_as_they_fit() -> None:
    assert IMAGES_PER_SEGMENT == 16
    assert [num_segments(n) for n in (1, 15, 16, 17, 32, 33)] == [1, 1, 1, 2, 2, 3]


@given(stream(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_is_seen(packed: Stream, data: st.DataObject) -> None:
    sound = packed.pack()
    place = data.draw(st.integers(0, len(sound) - 1))
    other = data.draw(st.integers(0, 255))
    assume(other != sound[place])
    with pytest.raises((DamagedStream, NotAStream, UnknownStreamFormat)):
        read(sound[:place] + bytes((other,)) + sound[place + 1 :])


@given(stream(), st.data())
@settings(max_examples=200, deadline=None)
def test_missing_and_added_bytes_are_seen(packed: Stream, data: st.DataObject) -> None:
    sound = packed.pack()
    start = data.draw(st.integers(0, len(sound) - 1))
    end = data.draw(st.integers(start + 1, len(sound)))
    more = data.draw(st.binary(min_size=1))
    for damaged in (sound[:start], sound[:start] + sound[end:], sound + more):
        with pytest.raises((DamagedStream, NotAStream, UnknownStreamFormat)):
            read(damaged)


@given(st.binary())
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_and_nothing_else_happens(junk: bytes) -> None:
    for data in (junk, MAGIC + junk, head(junk), signed(MAGIC + b"\1" + junk)):
        with suppress(NotAStream, UnknownStreamFormat, DamagedStream, TooManyRows):
            assert read(data).pack() == data


def test_every_truncation_is_damage() -> None:
    sound = SOUND.pack()
    for size in range(len(MAGIC), len(sound)):
        with pytest.raises(DamagedStream):
            read(sound[:size])
    for size in range(len(MAGIC)):
        with pytest.raises(NotAStream):
            read(sound[:size])


def test_other_files_are_no_streams() -> None:
    for data in (b"\x89PNG\r\n\x1a\n", b"PK\3\4", b"", b"\xf5LK\r\n" + SOUND.pack()[4:]):
        with pytest.raises(NotAStream, match="accepted is"):
            read(data)


def test_later_formats_are_told_from_damage() -> None:
    for format_ in (FORMAT + 1, 255):
        with pytest.raises(UnknownStreamFormat, match=f"format {format_}: accepted is {FORMAT}"):
            read(head(b"what it holds is not known", format_=format_))
    with pytest.raises(DamagedStream, match="format 0"):
        read(head(b"\1\1\2\1\1c", format_=0))


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b"\1\1\2\0", "0 images"),
        (b"\1\1\2\0\1c", "0 images"),
        (b"\1\1\2\1", "1 images in 0 bytes"),
        (b"\1\1\2\1\2c", "truncated: at least 1 bytes"),
        (b"\1\1\2\1\1cc", "1 bytes too many"),
        (b"\1\1\2\x11\1", "17 images in 1 bytes"),
        (b"\1\1\2\x11\1\1c", "truncated: at least 1 bytes"),
        (b"\1\1\2\xff\xff\xff\xff\x7f\1c", "images in 2 bytes"),
        (b"\1\1\2\1\xff\xff\xff\xff\x7f", "truncated: at least 34359738367 bytes"),
        (b"\1\1\2\1\xff\xff\xff\xff\xff\1c", "number is too long"),
        (b"\1\1\2\1\x81\0c", "number is too long"),
        (b"\1\x81\0\2\1\1c", "number is too long"),
        (b"\x09" + b"\1" * 20, "9 axes"),
        (b"\xff\xff\xff\xff\x7f", "axes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(rest: bytes, says: str) -> None:
    with pytest.raises(DamagedStream, match=says):
        read(head(rest))


def test_too_many_images_are_refused_before_their_lengths_are_read() -> None:
    full = replace(SOUND, num_images=1000, segments=(b"c",) * 63)
    assert read(full.pack()) == full
    more = replace(SOUND, num_images=1001, segments=(b"c",) * 63)
    with pytest.raises(TooManyRows, match="at most 1000"):
        read(more.pack())


def test_an_empty_code_is_a_code() -> None:
    none = replace(SOUND, segments=(b"", b""))
    assert read(none.pack()) == none


def test_names_are_short_and_ascii() -> None:
    long = signed(MAGIC + b"\1\x41" + b"m" * 65 + bytes(6) + b"\1b\1\1\2\1\1c")
    with pytest.raises(DamagedStream, match="65 letters"):
        read(long)
    for bad in (b"\n", b"\x7f", b"\xe9", b"\0"):
        with pytest.raises(DamagedStream, match="ASCII"):
            read(signed(MAGIC + b"\1\1" + bad + bytes(6) + b"\1b\1\1\2\1\1c"))


def test_absurd_lengths_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = streams._Reader.take

    def counted(reader: streams._Reader, num: int) -> bytes:
        taken.append(num)
        return take(reader, num)

    monkeypatch.setattr(streams._Reader, "take", counted)
    many = b"\1\1\2\xff\xff\xff\xff\x7f" + b"\1" * 1000
    with pytest.raises(DamagedStream):
        read(head(many))
    assert len(taken) < 20
