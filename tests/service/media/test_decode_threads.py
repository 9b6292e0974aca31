"""Which thread decodes what, in which order, and for how long anybody waits for it."""

import asyncio
import threading

import numpy as np
import pytest
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from models.core.picture.container import Container
from service.errors import InvalidImage
from service.media.decode import Decoder
from tests.support.service.pictures import file, pixels, png

GREY = Preprocessing(height=8, width=8)
DECODER = Decoder(2**24, 1)
LARGE = file(Image.fromarray(pixels(100, 100)))


def test_many_pictures_are_decoded_in_their_order_and_the_broken_one_is_named() -> None:
    images = [png(seed) for seed in range(40)]
    decoded = asyncio.run(DECODER.decode(images, GREY))
    assert [np.array_equal(d.pixels[0], pixels(seed=i)) for i, d in enumerate(decoded)] == [
        True
    ] * 40
    with pytest.raises(InvalidImage, match="image 33"):
        asyncio.run(DECODER.decode([*images[:33], b"x", *images[34:]], GREY))


class Watched(Preprocessing):
    """Notes which thread a picture is decoded on."""

    def read(self, container: Container, max_pixels: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
        pixels, _ = super().read(container, max_pixels)
        return pixels, (threading.current_thread().name,)


@pytest.mark.parametrize(
    "images",
    [[LARGE + bytes(2**16)], [file(Image.new("L", (300, 300)))], [png(), png()]],
    ids=["bytes", "pixels", "two"],
)
def test_all_but_one_small_picture_are_decoded_beside_the_loop(images: list[bytes]) -> None:
    for decoded in asyncio.run(DECODER.decode(images, Watched(8, 8))):
        assert decoded.notes[0].startswith("decode")
    (small,) = asyncio.run(DECODER.decode([png()], Watched(8, 8)))
    assert small.notes == (threading.current_thread().name,)


class Paused(Preprocessing):
    """Waits at its first picture until it is told to go on, and counts what it decodes."""

    begun, go_on = threading.Event(), threading.Event()
    num = 0

    def read(self, container: Container, max_pixels: int = 0) -> tuple[np.ndarray, tuple[str, ...]]:
        Paused.num += 1
        self.begun.set()
        assert self.go_on.wait(30)
        return super().read(container, max_pixels)


def test_what_nobody_waits_for_any_more_is_not_decoded() -> None:
    decoder = Decoder(2**24, 1)

    async def give_up() -> None:
        asked = asyncio.ensure_future(decoder.decode([png()] * 40, Paused(8, 8)))
        assert await asyncio.to_thread(Paused.begun.wait, 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        Paused.go_on.set()
        (after,) = await decoder.decode([LARGE + bytes(2**16)], GREY)
        assert after.pixels.shape == (1, 8, 8)

    asyncio.run(give_up())
    assert Paused.num == 1
    decoder.close()
