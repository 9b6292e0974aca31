"""The requests of a replay that are about forms: of pictures, arrays, samples and verdicts."""

import io
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.replay_requests import (
    DOCS,
    FORMS,
    JSON,
    NPY,
    Exchanges,
    Request,
    ask,
    each,
    form,
    get,
    npy,
    pixels,
    post,
    saved,
    text,
)


def exchanges() -> Exchanges:
    """All that needs no answer of another request."""
    yield from each((*_pages(), *_uploads(), *_arrays(), *_samples(), *_screenings()))


def _pages() -> list[Request]:
    paths = ["/", "/docs", "/openapi.json", "/models", "/health/live", "/health/ready", "/metrics"]
    return [
        *map(get, paths),
        get("/models", "HEAD"),
        get("/models/jem_fashion-mnist@facc051b709f"),
    ]


def _uploads() -> list[Request]:
    """Pictures of every format, size and mode, and every way to send them."""
    boot, letter = ((DOCS / f"{n}.png").read_bytes() for n in ("ankle_boot", "omniglot"))
    grey = Image.open(io.BytesIO(boot)).convert("L")
    turned = Image.Exif()
    turned[0x0112] = 6
    frames = [grey, grey.rotate(90)]
    files = {
        "png": boot,
        "jpeg": saved(grey, "JPEG", quality=75),
        "jpeg turned": saved(grey, "JPEG", exif=turned.tobytes()),
        "webp": saved(grey, "WEBP", lossless=True),
        "gif": saved(grey, "GIF"),
        "gif animated": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "bmp": saved(grey, "BMP"),
        "tiff": saved(grey, "TIFF"),
        "png rgb": saved(grey.convert("RGB")),
        "png rgba": saved(grey.convert("RGBA").rotate(30)),
        "png palette": saved(grey.convert("P")),
        "png one bit": saved(grey.convert("1")),
        "png 16 bits": saved(Image.fromarray(np.arange(784, dtype=np.uint16).reshape(28, 28) * 80)),
        "png large": saved(grey.resize((300, 170))),
        "png small": saved(grey.resize((9, 13))),
    }
    raw = [
        post(
            f"upload {name}",
            "/log_likelihood?model=jem_fashion-mnist",
            f"image/{name.split()[0]}",
            data,
        )
        for name, data in files.items()
    ]
    sneaker = {"label": "Sneaker"}
    return [
        *raw,
        post("upload octets", "/energy?label=3", "application/octet-stream", boot),
        form("upload form", "/energy", [boot, letter], **sneaker),
        form("upload form params", "/log_likelihood", [boot], estimator="ais"),
        ask("upload base64", "/energy", images=[text(boot), text(letter)], label=7),
        ask(
            "upload data url", "/energy", images=["data:image/png;base64," + text(boot)], label="2"
        ),
        post("upload in colour", "/ood_score?model=screen_cifar10", "image/png", letter),
        post("upload two levels", "/log_likelihood?model=made_mnist-binary", "image/png", letter),
        post("upload 17 levels", "/log_likelihood?model=glow_digits", "image/png", boot),
    ]


def _arrays() -> list[Request]:
    x = pixels(3, (1, 28, 28))
    unit = x.astype(np.float64) / 255
    arrays = {
        "uint8": x,
        "float16": unit.astype(np.float16),
        "float32": unit.astype(np.float32),
        "float64": unit,
        "fortran": np.asfortranarray(unit),
        "big endian": unit.astype(">f4"),
    }
    many = pixels(70, (1, 28, 28), 1)
    return [
        *(post(f"array {n}", "/energy", NPY, npy(array)) for n, array in arrays.items()),
        ask("array lists", "/energy", instances=unit.tolist()),
        post("array of 70", "/classify", NPY, npy(many)),
        post("array of 70 screened", "/ood_score", NPY, npy(many)),
        post(
            "array of counts",
            "/encode?model=maf_digits-64",
            NPY,
            npy(pixels(3, (64,)) % 17),
        ),
    ]


def _samples() -> list[Request]:
    """Every form of answer, and what an Accept header may say."""
    some: dict[str, Any] = {
        "num_samples": 5,
        "seed": 11,
        "label": "Bag",
        "params": {"num_steps": 12},
    }
    film = {**some, "progress_every": 3, "frame_ms": 40}
    accepts = ("image/*", "*/*;q=0.1, application/zip", "image/png;q=0.2, application/x-npz;q=0.9")
    start = text((DOCS / "ankle_boot.png").read_bytes())
    return [
        ask("sample json", "/sample", **some),
        ask("sample arrays", "/sample", format="arrays", **some),
        *(ask(f"sample {form}", "/sample", form, **some) for form in FORMS),
        *(ask(f"sample film {form}", "/sample", form, **film) for form in FORMS[3:]),
        *(ask(f"sample accept {accept}", "/sample", accept, **some) for accept in accepts),
        ask(
            "sample from data",
            "/sample",
            images=[start],
            seed=3,
            params={"num_steps": 4, "start": "data"},
        ),
        ask(
            "sample from noise",
            "/sample",
            seed=2**53,
            params={"num_steps": 4, "start": "noise", "polish_steps": 2},
        ),
        ask("sample 70", "/sample", FORMS[2], model="realnvp_digits", num_samples=70, seed=5),
        ask(
            "sample 70 watched",
            "/sample",
            FORMS[3],
            num_samples=70,
            seed=5,
            params={"num_steps": 8},
        ),
    ]


def _screenings() -> list[Request]:
    boot, letter = ((DOCS / f"{n}.png").read_bytes() for n in ("ankle_boot", "omniglot"))
    both = [text(boot), text(letter)]
    settings: list[dict[str, Any]] = [
        {"alpha": 0.01},
        {"guarantee": "pac", "delta": 0.1},
        {"guarantee": "class_conditional"},
        {"guarantee": "class_conditional", "alpha": 0.001},
        {"guarantee": "pac", "alpha": 0.0002},
        {"alpha": 0.0001},
        {"model": "jem_fashion-mnist", "score": "energy_typicality"},
        {"model": "glow_fashion-mnist"},
        {"model": "jem_fraktur-glyphs"},
    ]
    found = [
        ask(f"{path} {i}", f"/{path}", images=both, **setting)
        for path in ("ood_score", "classify")
        for i, setting in enumerate(settings)
    ]
    table = (DOCS / "breast_cancer.json").read_bytes()
    return [*found, post("table screened", "/ood_score", JSON, table)]
