"""The picture of the README: samples of two models, and images with what a service says of them.

Writes docs/overview.png. Beside shipped bundles it takes the test images of tests/data, the first
of each class, so that nothing is chosen and nothing is downloaded.
"""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image
from rich.table import Table

from benchmarks.screening import await_ready

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "overview.png"
_ALPHA = 0.05
_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_SAMPLED = ("ddpm_fashion-mnist", "jem_fashion-mnist")
_BUNDLES = (*_SAMPLED, "screen_fashion-mnist")


def draw() -> Table:
    """What was asked and answered; the same as a picture in docs/."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LIKELY_PORT": str(port),
        "LIKELY_LOG_LEVEL": "error",
        "LIKELY_BUNDLES": ",".join(str(ROOT / "bundles" / name) for name in _BUNDLES),
    }
    with subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=environment) as server:
        try:
            await_ready(port, "/health/ready")
            return _drawn(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()


def _drawn(url: str) -> Table:
    figure = Figure(figsize=(9, 4.8), layout=ConstrainedLayoutEngine(hspace=0.1))
    axes = figure.subplots(4, len(_CLASSES))
    for row, name in zip(axes, _SAMPLED, strict=False):
        for ax, label in zip(row, _CLASSES, strict=True):
            _show(ax, _sample(url, name, label))
        _name(row[0], f"samples of\n{name.split('_')[0]}")
    for ax, label in zip(axes[0], _CLASSES, strict=True):
        ax.set_title(label, fontsize=8)
    table = Table("image", "p-value", "decision")
    own, others = _own(), _others()
    for row, images, name in zip(
        axes[2:], (own, others), ("test images", "other images"), strict=True
    ):
        for ax, (title, pixels) in zip(row, images.items(), strict=True):
            answer = _classified(url, pixels)
            is_strange = answer["decision"] != "accept"
            said = "uncertain" if is_strange else answer["label"]
            _show(ax, pixels, "tab:red" if is_strange else "tab:green")
            ax.set_xlabel(f"p = {answer['p_value']:#.2g}\n{said}", fontsize=8)
            if images is others:
                ax.set_title(title, fontsize=8)
            table.add_row(title, f"{answer['p_value']:.4f}", f"{answer['decision']}: {said}")
        _name(row[0], name)
    figure.savefig(PICTURE, dpi=100)
    return table


def _own() -> dict[str, np.ndarray]:
    """The first test image of each class. -> uint8 (28, 28)."""
    return dict(zip(_CLASSES, _first("fashion-mnist_test_1000", 10), strict=True))


def _others() -> dict[str, np.ndarray]:
    """Digits, a letter, noise, and own images changed. -> uint8 (28, 28)."""
    own = _own()
    halves = own["Sandal"].copy()
    halves[14:] = own["Shirt"][14:]
    noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    digits = enumerate(_first("mnist_test_500", 4))
    return {
        **{f"digit {digit}": pixels for digit, pixels in digits},
        "Omniglot": np.asarray(Image.open(ROOT / "docs" / "omniglot.png").convert("L")),
        "noise": noise,
        "inverse": 255 - own["Shirt"],
        "two halves": halves,
        "bag, turned": own["Bag"][::-1],
        "boot, turned": own["Ankle boot"][::-1],
    }


def _first(name: str, num: int) -> list[np.ndarray]:
    """The first image of each of the first classes."""
    stored = np.load(ROOT / "tests" / "data" / f"{name}.npz")
    x, y = stored["x"], stored["y"]
    return [x[y == label][0].reshape(28, 28) for label in range(num)]


def _sample(url: str, model: str, label: str) -> np.ndarray:
    """By the model's default settings. -> uint8 (28, 28)."""
    asked = {"model": model, "label": label, "seed": 0}
    answer = _asked(f"{url}/sample", "application/json", json.dumps(asked).encode())
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["samples"][0]))))


def _classified(url: str, pixels: np.ndarray) -> dict[str, Any]:
    """The result of /classify for one image."""
    png = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(png, "PNG")
    found: dict[str, Any] = _asked(f"{url}/classify?alpha={_ALPHA}", "image/png", png.getvalue())[
        "results"
    ][0]
    return found


def _asked(url: str, content_type: str, body: bytes) -> Any:
    """The JSON answer of a POST. Raises HTTPError where it is a problem."""
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def _show(ax: Axes, pixels: np.ndarray, colour: str | None = None) -> None:
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(color=colour, linewidth=3, visible=colour is not None)


def _name(ax: Axes, name: str) -> None:
    ax.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
