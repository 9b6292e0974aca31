"""Finds pictures that are copies of one another: the same, of another size, or saved anew.

Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", for the hash of
the lowest frequencies; what it takes for alike is compared pixel by pixel, since drawings of one
kind have hashes as near as copies have.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from models.core.bundle.preprocess import Preprocessing
from training.data.folder import picture_of
from training.data.readers import Raw

_SIDE = 64
"""Pixels of the longer side at which pictures are looked at."""
_MOST_BITS = 12
"""Of 64: copies of drawings of 28 x 28 pixels saved as JPEG differ in 10 (95 %)."""
_MOST_APART = 0.15
"""Root mean square over the contrast, at 16 x 16 pixels. JPEG copies of quality 75 are 0.05 (of
Fashion-MNIST) to 0.16 (CIFAR-10, 95 %) apart; of 124,750 pairs of different images none or one
are nearer (Fashion-MNIST, MNIST, digits, CIFAR-10)."""
_FLAT = 2.0
"""Levels of contrast below which a picture has nothing that a hash could tell."""
_LONG = 5000
_ORIENTATION = 0x0112
_ON_THEIR_SIDE = (5, 6, 7, 8)
_BLOCK = 1024


def with_copies(raw: Raw) -> Raw:
    """A set of files, with what is a copy of what. Raises DataError for a broken picture."""
    assert not isinstance(raw.images, np.ndarray)
    return replace(raw, copies=copies_of(raw.images))


def copies_of(paths: Sequence[Path]) -> np.ndarray:
    """For each picture the first that it is a copy of, or itself. -> int (N,).

    Copies of copies are copies. Raises DataError for a broken picture.
    """
    pixels = np.empty((len(paths), 16, 16, 3), np.float32)
    hashes = np.empty(len(paths), np.uint64)
    exact: dict[bytes, int] = {}
    first = np.arange(len(paths))
    console = Console(stderr=True)
    hidden = len(paths) < _LONG or not console.is_terminal
    for i, path in enumerate(
        track(paths, "looking for copies", console=console, transient=True, disable=hidden)
    ):
        picture = _look(path)
        x = np.asarray(picture)
        bits = imagehash.phash(picture).hash.ravel()
        hashes[i] = np.packbits(bits).view(np.uint64)[0]
        pixels[i] = x.reshape(16, 2, 16, 2, 3).mean((1, 3))
        first[i] = exact.setdefault(x.tobytes(), i)
    _join_near(first, hashes, pixels.reshape(len(paths), -1))
    return first


def _look(path: Path) -> Image.Image:
    """The picture as an upload is seen, without margins, in 32 x 32 pixels. Raises DataError."""
    scale = _SIDE / max(size := upright_size(path))
    width, height = (max(1, round(scale * side)) for side in size)
    x = picture_of(path, Preprocessing(height, width, 3)).transpose(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(x)).resize((32, 32), Image.Resampling.BOX)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height by the file's head; a square where it cannot be read."""
    try:
        with Image.open(path) as image:
            (width, height), orientation = image.size, image.getexif().get(_ORIENTATION, 1)
    except Exception:  # what is broken is said when the picture is read
        return (1, 1)
    return (height, width) if orientation in _ON_THEIR_SIDE else (width, height)


def _join_near(first: np.ndarray, hashes: np.ndarray, pixels: np.ndarray) -> None:
    """Let `first` of near copies be one. Shapes: int (N,), uint64 (N,), float (N, D)."""
    alone = np.flatnonzero(first == np.arange(len(first)))
    contrast = pixels.std(1)
    alone = alone[contrast[alone] >= _FLAT]
    for start in range(0, len(alone), _BLOCK):
        block, later = alone[start : start + _BLOCK], alone[start:]
        near = np.argwhere(np.bitwise_count(hashes[block, None] ^ hashes[later]) <= _MOST_BITS)
        near = near[near[:, 0] < near[:, 1]]
        for part in range(0, len(near), _BLOCK):
            one, other = block[near[part:, 0][:_BLOCK]], later[near[part:, 1][:_BLOCK]]
            apart = np.sqrt(np.square(pixels[one] - pixels[other]).mean(1))
            alike = apart <= _MOST_APART * np.sqrt(contrast[one] * contrast[other])
            for i, j in zip(one[alike].tolist(), other[alike].tolist(), strict=True):
                low, high = sorted((_root(first, i), _root(first, j)))
                first[high] = low
    for i in range(len(first)):
        first[i] = _root(first, i)


def _root(first: np.ndarray, row: int) -> int:
    while first[row] != row:
        row = int(first[row])
    return row
