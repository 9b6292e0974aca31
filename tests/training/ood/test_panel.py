"""Probes are what they say, and every image comes the way of an upload."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.core.bundle.preprocess import Preprocessing
from training.data.readers import DataError, Raw
from training.data.splits import Split
from training.ood.panel import ImageSet, as_upload, panel, uploads
from training.ood.probes import PROBES

GREY = Preprocessing(8, 8)
COLOUR = Preprocessing(8, 8, 3)


def own(num: int = 12, channels: int = 1) -> Split:
    """Random images of three classes; the class is the level of the first pixel."""
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (num, channels, 8, 8)).astype(np.uint8)
    y = np.arange(num) % 3
    x[:, :, 0, 0] = x[:, :, -1, -1] = y[:, None]
    return Split(x, y)


def made(split: Split, form: Preprocessing = GREY, *only: str) -> dict[str, np.ndarray]:
    """Probes by name; all if none is named."""
    names = set(only) or {probe.name for probe in PROBES}
    sets = panel(split, "mnist", form, 0, {})
    return {one.name: one.make() for one in sets if one.name in names}


@pytest.mark.parametrize("form", [GREY, COLOUR, Preprocessing(8, 8, invert=True)])
def test_probes_of_known_pixels(form: Preprocessing) -> None:
    split = own(channels=form.channels)
    x, found = split.x, made(split, form)
    assert set(found) == {probe.name for probe in PROBES}
    assert {probe.shape for probe in found.values()} == {x.shape}
    expected = {
        "own-inverted": 255 - x,
        "own-hflip": np.flip(x, 3),
        "own-vflip": np.flip(x, 2),
        "own-rot90": np.flip(x.transpose(0, 1, 3, 2), 2),
        "own-half-contrast": np.rint(x / 2),
        "black": np.zeros_like(x),
        "own-5pct-brighter": np.minimum(np.rint(1.05 * x), 255),
        "own-5pct-darker": np.rint(0.95 * x),
    }
    for name, probe in expected.items():
        np.testing.assert_array_equal(found[name], probe, err_msg=name)
    np.testing.assert_array_equal(found["own-shifted"][..., 1:], x[..., :-1])
    assert (found["own-shifted"][..., 0] == 0).all()


def test_the_half_contrast_of_dark_ink_stays_on_white() -> None:
    form = Preprocessing(8, 8, background=255)
    split = own()
    split.x[:, :, 3] = 255
    found = made(split, form, "own-half-contrast", "own-shifted")
    assert (found["own-half-contrast"][:, :, 3] == 255).all()
    np.testing.assert_array_equal(found["own-half-contrast"], np.rint(255 - (255 - split.x) / 2))
    assert (found["own-shifted"][..., 0] == 255).all()


def test_a_permutation_is_one_for_all_images_and_colours() -> None:
    split = own(channels=3)
    split.x[:] = np.arange(64).reshape(8, 8)
    found = made(split, COLOUR, "own-permuted")["own-permuted"].reshape(-1, 64)
    assert (found == found[0]).all()
    assert sorted(found[0]) == list(range(64))
    assert (found[0] != np.arange(64)).sum() > 32


def test_constants_are_constant_and_differ() -> None:
    for channels, form in ((1, GREY), (3, COLOUR)):
        found = made(own(40, channels), form, "constant")["constant"]
        assert (found == found[..., :1, :1]).all()
        assert len(np.unique(found[:, 0, 0, 0])) > 20
    assert (found[:, 0, 0, 0] != found[:, 1, 0, 0]).any(), "colours, not greys"


def test_noise_has_the_moments_that_it_says() -> None:
    split = Split(np.full((200, 1, 8, 8), 128, np.uint8), np.zeros(200, np.int64))
    found = made(split, GREY, "own-noise10", "uniform-noise", "smooth-noise")
    assert found["own-noise10"].mean() == pytest.approx(128, abs=0.5)
    assert found["own-noise10"].std() == pytest.approx(10, abs=0.3)
    assert found["uniform-noise"].mean() == pytest.approx(127.5, abs=3)
    assert found["uniform-noise"].std() == pytest.approx(256 / 12**0.5, abs=1.5)
    smooth = found["smooth-noise"].astype(float)
    assert smooth.min((2, 3)).max() == 0
    assert smooth.max((2, 3)).min() == 255
    step = np.abs(np.diff(smooth, axis=3)).mean()
    assert step < np.abs(np.diff(found["uniform-noise"].astype(float), axis=3)).mean() / 2


def test_a_blurred_point_is_a_gaussian() -> None:
    split = own(4)
    split.x[:] = 0
    split.x[:, :, 4, 4] = 255
    found = made(split, GREY, "own-blurred")["own-blurred"][0, 0].astype(float)
    assert found[4, 4] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert found[4, 5] / found[4, 4] == pytest.approx(np.exp(-0.5), abs=0.02)


def test_halves_are_of_two_classes() -> None:
    split = own(30)
    found = made(split, GREY, "own-halves")["own-halves"]
    np.testing.assert_array_equal(found[:, :, :4], split.x[:, :, :4])
    assert (found[:, 0, -1, -1] != split.y).all(), "the last pixel tells the other's class"
    bottoms = {bottom.tobytes() for bottom in split.x[:, :, 4:]}
    assert {bottom.tobytes() for bottom in found[:, :, 4:]} <= bottoms


def test_halves_of_one_class_are_of_two_images() -> None:
    split = Split(own(30).x, np.zeros(30, np.int64))
    found = made(split, GREY, "own-halves")["own-halves"]
    assert (found[:, :, 4:] != split.x[:, :, 4:]).any((1, 2, 3)).all()


def test_benign_shifts_hardly_change_an_image() -> None:
    smooth = made(own(6))["smooth-noise"]
    found = made(Split(smooth, np.arange(6)))["own-jpeg75"].astype(float) - smooth
    assert 0.2 < np.abs(found).mean() < 12


def test_which_sets_may_be_looked_at() -> None:
    parts = {part: {p.name for p in PROBES if p.part == part} for part in ("development", "benign")}
    assert parts["development"] == {
        *("own-inverted", "own-blurred", "own-permuted", "constant", "black", "uniform-noise")
    }
    assert len(parts["benign"]) == 4


def test_probes_are_the_same_every_time() -> None:
    first, second = made(own()), made(own())
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("form", [GREY, Preprocessing(8, 8, invert=True), COLOUR])
def test_an_upload_shows_the_image(form: Preprocessing) -> None:
    x = own(channels=form.channels).x
    np.testing.assert_array_equal(as_upload(x, form), x)


def test_pictures_go_through_the_preprocessing_of_uploads() -> None:
    random = np.random.RandomState(1)
    pixels = random.randint(0, 256, (3, 20, 12, 3)).astype(np.uint8)
    found = uploads(map(Image.fromarray, pixels), GREY)
    expected = [GREY.apply(Image.fromarray(picture))[0] for picture in pixels]
    np.testing.assert_array_equal(found, np.stack(expected))
    assert uploads([], COLOUR).shape == (0, 3, 8, 8)


INK = {"mnist": 0, "fashion-mnist": 0, "omniglot": 255, "fraktur-glyphs": 255}


@pytest.fixture
def _drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every named set is two strokes on its ground, CIFAR-10 is grey."""

    def read(source: str) -> Raw:
        ground = INK.get(source)
        x = np.full((60, 8, 8), 100 if ground is None else ground, np.uint8)
        if ground is not None:
            x[:, 3:5] = 255 - ground
        return Raw(x, np.arange(60) % 2, ("a", "b"), np.arange(60) >= 40)

    monkeypatch.setattr("training.ood.panel._read", read)


@pytest.mark.usefixtures("_drawn")
@pytest.mark.parametrize("background", [0, 255])
@pytest.mark.parametrize("invert", [False, True])
def test_ink_is_as_dark_as_the_models(background: int, invert: bool) -> None:
    form = Preprocessing(8, 8, invert=invert, background=background)
    found = {one.name: one for one in panel(own(), "cifar10", form, 5, {})}
    for name in INK:
        x = found[name].make()
        assert len(x) == 5
        assert (x[:, :, 0] == background).all()
        assert (x[:, :, 3] == 255 - background).all()
    assert (found["mnist-inverted"].make()[:, :, 0] == 255 - background).all()
    assert (found["omniglot-inverted"].make()[:, :, 0] == 255 - background).all()
    dim = found["mnist-dimmed"].make()
    assert (dim[:, :, 0] == background).all()
    assert set(np.abs(dim[:, :, 3].astype(int) - background).ravel()) <= {127, 128}
    assert "inverted" in found["mnist"].about or (background == 255) == invert


@pytest.mark.usefixtures("_drawn")
def test_a_set_is_not_its_own_stranger() -> None:
    names = [one.name for one in panel(own(), "mnist", GREY, 5, {})]
    assert len(names) == len(set(names))
    assert not {"mnist", "mnist-inverted", "mnist-dimmed"} & set(names)
    assert {"fashion-mnist-dimmed", "omniglot", "cifar10"} <= set(names)
    assert "fashion-mnist-tinted" not in names, "there is no colour in grey"


@pytest.mark.usefixtures("_drawn")
def test_colour_models_see_coloured_ink() -> None:
    found = {one.name: one for one in panel(own(channels=3), "cifar10", COLOUR, 5, {})}
    ink = found["mnist-tinted"].make()[:, :, 3, 0].astype(int)
    assert (np.ptp(ink, axis=1) > 5).all()
    assert (found["mnist-tinted"].make()[:, :, 0] == 0).all()


def save(path: Path, level: int) -> None:
    """A picture of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((10, 10), level, np.uint8)).save(path)


def only(folder: Path, limit: int = 0) -> ImageSet:
    """The set of a folder."""
    return panel(own(), "mnist", GREY, limit, {"mine": folder})[-1]


def test_folders_are_read_flat_or_by_class(tmp_path: Path) -> None:
    for i, name in enumerate(("a.png", "b/c.png", "b/d/e.PNG", ".hidden/f.png", "b/.g.png")):
        save(tmp_path / name, 10 * i)
    (tmp_path / "notes.txt").write_text("no picture")
    found = only(tmp_path)
    assert found.name == "mine"
    assert sorted(found.make()[:, 0, 0, 0]) == [0, 10, 20]
    assert len(only(tmp_path, limit=2).make()) == 2


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures"):
        only(tmp_path).make()
    with pytest.raises(DataError, match="not a folder"):
        only(tmp_path / "absent").make()


def test_a_damaged_set_is_refused_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKELY_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    broken = gzip.compress(struct.pack(">I", 2049))
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(broken)
    found = {one.name: one for one in panel(own(), "digits", GREY, 5, {})}
    with pytest.raises(DataError, match="truncated or another file"):
        found["mnist"].make()
