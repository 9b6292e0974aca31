"""Whatever is done to a file, it gives a picture or the one error, and nothing else."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from benchmarks.mutant_pictures import mutants, sound
from models.core.bundle.preprocess import Preprocessing
from models.core.picture.container import UnreadablePicture
from models.core.picture.opened import open_picture
from service.errors import InvalidImage, PayloadTooLarge
from service.media.decode import Decoder
from training.data.folder import picture_of
from training.data.readers import DataError

FORM = Preprocessing(8, 8, channels=3)
PILLOW_WARNS = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def test_the_files_are_sound_before() -> None:
    for name, data in sound().items():
        pixels, _ = FORM.read(open_picture(data))
        assert len(np.unique(pixels)) > 1, name


@PILLOW_WARNS
def test_a_mutant_is_a_picture_or_unreadable() -> None:
    num_read = 0
    for name, data in mutants(600):
        try:
            pixels, _ = FORM.read(open_picture(data), max_pixels=2**24)
        except UnreadablePicture:
            continue
        assert pixels.shape == (3, 8, 8), name
        num_read += 1
    assert 60 < num_read < 540  # the damage is neither none nor all


@PILLOW_WARNS
def test_uploads_and_files_agree_about_every_mutant(tmp_path: Path) -> None:
    decoder, path = Decoder(2**24, 1), tmp_path / "mutant"
    for name, data in mutants(240, seed=1):
        path.write_bytes(data)
        try:
            uploaded = asyncio.run(decoder.decode([data], FORM))[0].pixels
        except (InvalidImage, PayloadTooLarge):
            with pytest.raises(DataError):
                picture_of(path, FORM)
        else:
            np.testing.assert_array_equal(uploaded, picture_of(path, FORM), err_msg=name)
    decoder.close()
