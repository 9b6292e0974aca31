"""The table of named data sets: their files with sha256, public homes, licences and citations."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pooch

from models.core.distributions.targets import TARGETS
from training.data.readers import DataError, Raw, raw_idx, raw_npz, raw_zip

DATA_VARIABLE = "LIKELY_DATA"
_NUM_DRAWN = 20_000


@dataclass(frozen=True)
class File:
    """One file of a set: its path below the data folder, and the only bytes we accept."""

    path: str
    sha256: str
    url: str | None = None  # None: no public home


@dataclass(frozen=True)
class Source:
    """A named set: where its bytes are, how to read them, whom to thank."""

    files: tuple[File, ...]
    read: Callable[[tuple[Path, ...]], Raw]
    about: str
    group: str = ""  # what the rows of one group share, for the split rule


def data_folder() -> Path | None:
    """The folder that LIKELY_DATA names, if it is set."""
    folder = os.environ.get(DATA_VARIABLE)
    return Path(folder).expanduser() if folder else None


def fetch(file: File) -> Path:
    """The file, checked: from LIKELY_DATA, else from the cache, else from its public home.

    Raises DataError if it cannot be had or is not the file it should be.
    """
    folder, cache = data_folder(), Path(pooch.os_cache("likely"))
    if folder is not None and (folder / file.path).is_file():
        return _checked(folder / file.path, file.sha256)
    target = cache / file.path
    if target.is_file():
        return _checked(target, file.sha256)
    if file.url is None:
        raise DataError(
            f"{file.path} is missing and has no public home: set {DATA_VARIABLE} to a folder "
            f"that holds it (sha256 {file.sha256})"
        )
    try:
        pooch.retrieve(file.url, f"sha256:{file.sha256}", target.name, target.parent)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file.path} is not in the folder {DATA_VARIABLE} ({folder or 'not set'}) and could "
            f"not be downloaded from {file.url}: {error}"
        ) from error
    return target


def _checked(path: Path, sha256: str) -> Path:
    try:
        with path.open("rb") as opened:
            actual = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if actual != sha256:
        raise DataError(
            f"{path} is truncated or another file: sha256 {actual}, expected {sha256}; remove it "
            "and get it again"
        )
    return path


def _digits(_paths: tuple[Path, ...]) -> Raw:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Raw(x, digits.target.astype(np.int64), tuple(map(str, range(10))))


def _digits_64(_paths: tuple[Path, ...]) -> Raw:
    from sklearn.datasets import load_digits

    digits = load_digits()
    names = tuple(map(str, range(10)))
    features = tuple(str(name) for name in digits.feature_names)
    return Raw(digits.data, digits.target.astype(np.int64), names, feature_names=features)


def _breast_cancer(_paths: tuple[Path, ...], wanted: str) -> Raw:
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    rows = np.flatnonzero(table.target_names[table.target] == wanted)
    features = tuple(str(name) for name in table.feature_names)
    return Raw(table.data[rows], np.zeros(len(rows), np.int64), (wanted,), feature_names=features)


def _drawn(_paths: tuple[Path, ...], target: str) -> Raw:
    x = TARGETS[target].draw(_NUM_DRAWN).numpy()
    return Raw(x, np.zeros(len(x), np.int64), (target,), feature_names=("x_1", "x_2"))


def _mnist_like(folder: str, home: str, *sha256: str) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        File(f"{folder}/{name}-ubyte.gz", digest, f"{home}/{name}-ubyte.gz")
        for name, digest in zip(names, sha256, strict=True)
    )


_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_DIGITS = (
    "Optical recognition of handwritten digits, Alpaydin and Kaynak 1998 "
    "(doi:10.24432/C50P49), test part as shipped with scikit-learn, CC BY 4.0"
)
_BREAST_CANCER = (
    "Breast Cancer Wisconsin (Diagnostic), Wolberg, Mangasarian, Street and Street 1993 "
    "(doi:10.24432/C5DW2B), as shipped with scikit-learn, CC BY 4.0; one diagnosis only"
)

SOURCES: dict[str, Source] = {
    "fashion-mnist": Source(
        _mnist_like(
            "fashion-mnist",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        partial(raw_idx, class_names=_FASHION_CLASSES),
        "Fashion-MNIST, Xiao, Rasul and Vollgraf 2017 (arXiv:1708.07747), MIT licence, "
        "https://github.com/zalandoresearch/fashion-mnist",
    ),
    "mnist": Source(
        _mnist_like(
            "mnist",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        partial(raw_idx, class_names=tuple(map(str, range(10)))),
        "MNIST, LeCun, Cortes and Burges 1998, usually cited as CC BY-SA 3.0, "
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ),
    "omniglot": Source(
        (
            File(
                "omniglot/images_background_small1.zip",
                "f38eb80f801274ac2b4dff5b24289016bfaba4a7d5bb50deebf27104ad6cb8a4",
                "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"
                "images_background_small1.zip",
            ),
        ),
        raw_zip,
        "Omniglot, background small 1, Lake, Salakhutdinov and Tenenbaum 2015 "
        "(doi:10.1126/science.aab3050), MIT licence, https://github.com/brendenlake/omniglot",
    ),
    "fraktur-glyphs": Source(
        (
            File(
                "fraktur-glyphs/fraktur_56_train.npz",
                "58c2181a381ba964ed87d5b013eae2dfaef1cfc01ba27d84fee011ed2a48ee32",
            ),
            File(
                "fraktur-glyphs/fraktur_56_test.npz",
                "9b73bc65bcbe025ef48ea2abc48dc9a352b3980cfa2d1d46eb7e13def7e66924",
            ),
        ),
        raw_npz,
        "Fraktur glyphs, cut from GT4HistOCR (Springmann, Reul, Dipper and Baiter 2018, CC BY 4.0) "
        "by way of https://github.com/yingyangle/fraktur, which states no licence of its own",
        group="text line",
    ),
    "cifar10": Source(
        (
            File(
                "cifar10/cifar10_train_12k.npz",
                "6ddbe6e43c681030fe1d19ea2b36baefd32ed0d9d574d2efcd2f3fb2dc88f121",
            ),
            File(
                "cifar10/cifar10_test.npz",
                "b41945f74d0a48acb2fa690f2708f03fadc4d89af187904a17f4dbae6b6182b5",
            ),
        ),
        partial(raw_npz, class_names=_CIFAR_CLASSES),
        "CIFAR-10, 12,000 of its train and 9,806 of its test images, Krizhevsky 2009, Learning "
        "Multiple Layers of Features from Tiny Images; no licence stated",
    ),
    "digits": Source(
        (),
        _digits,
        _DIGITS,
    ),
    "digits-64": Source((), _digits_64, f"{_DIGITS}, as vectors of 64 counts from 0 to 16"),
    "breast-cancer-benign": Source((), partial(_breast_cancer, wanted="benign"), _BREAST_CANCER),
    "breast-cancer-malignant": Source(
        (), partial(_breast_cancer, wanted="malignant"), _BREAST_CANCER
    ),
    **{
        name: Source(
            (),
            partial(_drawn, target=name),
            f"{_NUM_DRAWN:,} pairs drawn by rejection sampling, always the same, from the density "
            f"{name} (Rezende and Mohamed 2015, arXiv:1505.05770)",
        )
        for name in TARGETS
        if name.startswith("potential-")
    },
}
