"""Progress between the engine's thread and a reader: how far, what of it is drawn, what is lost."""

import numpy as np
import pytest
import torch

from models.core.contract.grid import quantise
from service.engine import messages
from service.http.forms.event_stream import MAX_IMAGES, Progress
from service.media.encode import tiled
from tests.support.service.apps import play
from tests.support.service.streaming import picture


def preview(
    x: torch.Tensor | None, num: int, steps_done: int, first_row: int = 0
) -> messages.Preview:
    pixels = messages.pixels_of(x, first_row, MAX_IMAGES)
    return messages.Preview(0, first_row, num, steps_done, pixels)


def test_a_slow_reader_misses_looks_but_not_the_last() -> None:
    async def story() -> None:
        progress = Progress(1, 1000, 1, 1)
        for step in range(1, 501):
            progress.show(preview(torch.full((1, 1, 4, 4), step / 500), 1, step))
        found = progress.read()
        assert len(found) < 100
        assert found[-1]["step"] == 500
        assert picture(found[-1]["preview"]).min() == 255
        assert progress.read() == []

    play(story())


def test_progress_says_how_far_the_rows_are_on_average() -> None:
    async def story() -> None:
        progress = Progress(6, 10, None, 6)
        assert progress.previews.every == 1
        progress.show(preview(torch.ones(4, 1, 2, 2), 4, 9))
        progress.show(preview(torch.ones(2, 1, 2, 2), 2, 6, first_row=4))
        first, second = progress.read()
        assert (first["step"], second["step"]) == (6, 8)
        assert first["of"] == 10
        white = [(picture(look["preview"]) == 255).sum() for look in (first, second)]
        assert white == [16, 24]
        assert Progress(6, 784, None, 6).previews.every == 24

    play(story())


def test_pictures_hold_the_first_images_of_rows_of_several() -> None:
    async def story() -> None:
        x = torch.rand(5, 16, 1, 4, 4)
        progress = Progress(5, 10, 1, 70)
        progress.show(preview(x[:3], 3, 1))
        progress.show(preview(x[3:], 2, 1, first_row=3))
        last = progress.read()[-1]["preview"]
        expected = tiled(quantise(x.flatten(0, 1)[:MAX_IMAGES]).numpy())[0]
        assert np.array_equal(picture(last), expected)
        few = Progress(1, 10, 1, 3)
        few.show(preview(x[:1], 1, 1))
        expected = tiled(quantise(x[0, :3]).numpy())[0]
        assert np.array_equal(picture(few.read()[0]["preview"]), expected)

    play(story())


@pytest.mark.parametrize("x", [None, torch.zeros(2, 5)])
def test_what_is_no_picture_is_progress_without_one(x: torch.Tensor | None) -> None:
    async def story() -> None:
        progress = Progress(2, 10, 1, 2)
        progress.show(preview(x, 2, 4))
        assert progress.read() == [{"step": 4, "of": 10, "preview": None}]
        progress.show(preview(torch.full((2, 1, 2, 2), torch.nan), 2, 5))
        assert not picture(progress.read()[0]["preview"])[:, :2].any()

    play(story())
