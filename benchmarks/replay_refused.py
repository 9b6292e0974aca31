"""The requests of a replay that are refused: every kind of problem that a client can cause."""

import zlib
from typing import Any

import numpy as np

from benchmarks.replay_models import files_of
from benchmarks.replay_requests import (
    DOCS,
    FORMS,
    JSON,
    NPY,
    STREAM,
    Exchanges,
    Request,
    ask,
    each,
    form,
    get,
    npy,
    picture,
    pixels,
    post,
    text,
)

_PNG = "image/png"
_MODEL_OF_STREAM = "pixelcnn_digits"
_VECTORS = "maf_breast-cancer"


def exchanges() -> Exchanges:
    """All of them, and what the service says that each kind of problem means."""
    yield from each((*_paths(), *_bodies(), *_arrays(), *_fields(), *_forms()))
    yield from _streams()
    schema = yield get("/problems/none")
    for slug in schema.json()["detail"].partition("there are ")[2].split(", "):
        yield get(f"/problems/{slug}")


def _boot() -> bytes:
    return (DOCS / "ankle_boot.png").read_bytes()


def _paths() -> list[Request]:
    wrong = ("GET", "/sample"), ("PUT", "/energy"), ("DELETE", "/models"), ("OPTIONS", "/sample")
    return [
        get("/nothing"),
        get("/models/nobody"),
        get("/models/jem_fashion-mnist@000000000000"),
        get("/models/ddpm_fashion-mnist/drift"),
        get("/models/jem_fashion-mnist/drift?score=none"),
        get("/models/nobody/drift/reset", "POST"),
        *(get(path, method) for method, path in wrong),
        get("/sample", "HEAD"),
    ]


def _bodies() -> list[Request]:
    """What cannot be read, or is too much."""
    boot = _boot()
    bodies = {
        "no type": ("", boot),
        "other type": ("text/plain", boot),
        "empty": (_PNG, b""),
        "empty json": (JSON, b""),
        "broken json": (JSON, b'{"images": ['),
        "json list": (JSON, b"[1, 2]"),
        "nan json": (JSON, b'{"instances": [[NaN]]}'),
        "no events": (JSON, b"{}"),
        "no picture": (_PNG, b"not a picture"),
        "cut picture": (_PNG, boot[:200]),
        "bomb": (_PNG, _bomb()),
        "broken form": ("multipart/form-data", b"--x"),
        "cut npy": (NPY, npy(pixels(1, (1, 28, 28)))[:-5]),
        "no npy": (NPY, b"not an npy file"),
    }
    found = [post(f"body {n}", "/energy", *given) for n, given in bodies.items()]
    large = {"Content-Type": _PNG, "Content-Length": "99999999", "X-Request-Id": "replay-large"}
    return [
        *found,
        Request("body too large", "POST", "/energy", large),
        post("body of other endpoint", "/decode", _PNG, boot),
        form("form empty file", "/energy", [boot, b""]),
        form("form twice", "/energy?label=1", [boot], label="2"),
        ask("not base64", "/energy", images=["%%%"]),
        ask("other data url", "/energy", images=["data:image/png,abc"]),
    ]


def _arrays() -> list[Request]:
    x = pixels(2, (1, 28, 28)).astype(np.float64)
    unit = x / 255
    holed = unit.copy()
    holed[1, 0, 3, 3] = np.nan
    arrays: dict[str, np.ndarray] = {
        "beyond one": x,
        "nan": holed,
        "other shape": unit[:, 0],
        "no rows": unit[:0],
        "integers": x.astype(np.int64),
        "too many": np.zeros((1025, 1, 28, 28), np.uint8),
    }
    counts = np.full((1, 64), 17.0)
    return [
        *(post(f"array {name}", "/energy", NPY, npy(array)) for name, array in arrays.items()),
        ask("lists ragged", "/energy", instances=[[1.0], [1.0, 2.0]]),
        ask("lists of text", "/energy", instances=[[["a"]]]),
        ask("lists and images", "/energy", instances=unit.tolist(), images=[text(_boot())]),
        ask("counts beyond", "/log_likelihood", model="maf_digits-64", instances=counts.tolist()),
        ask("latents of other shape", "/decode", model="glow_digits", latents=[[0.0] * 3]),
        ask("latents of none", "/decode", model="made_digits", latents=[[0.0] * 64]),
        ask("latents extreme", "/decode", "image/png", model="glow_digits", latents=[[1e30] * 64]),
        ask("no latents", "/decode", model="glow_digits"),
        post(
            "bytes for numbers", f"/energy?model={_VECTORS}", NPY, npy(np.zeros((1, 30), np.uint8))
        ),
        post("picture for vectors", f"/energy?model={_VECTORS}", _PNG, _boot()),
    ]


def _fields() -> list[Request]:
    """What is out of range, unknown or not what the model does."""
    image = [text(_boot())]
    given: list[tuple[str, dict[str, Any]]] = [
        ("sample", {"num_samples": 0}),
        ("sample", {"num_samples": 257}),
        ("sample", {"num_samples": "2"}),
        ("sample", {"num_samples": 3, "images": image * 2, "params": {"start": "data"}}),
        ("sample", {"images": image}),
        ("sample", {"params": {"start": "data"}}),
        ("sample", {"params": {"start": "persistent"}, "seed": 1}),
        ("sample", {"params": {"num_steps": 0}}),
        ("sample", {"params": {"num_steps": 1.5}}),
        ("sample", {"params": {"sigma": 1}}),
        ("sample", {"seed": -1}),
        ("sample", {"seed": 2**63}),
        ("sample", {"frame_ms": 5}),
        ("sample", {"progress_every": 0}),
        ("sample", {"format": "jpeg"}),
        ("sample", {"label": "Nothing"}),
        ("sample", {"label": 10}),
        ("sample", {"label": -1}),
        ("sample", {"label": True}),
        ("sample", {"model": "glow_digits", "label": 1}),
        ("sample", {"model": "nobody"}),
        ("sample", {"model": "m" * 129}),
        ("sample", {"model": "ddpm_fashion-mnist", "params": {"guidance_scale": 2.0}}),
        ("sample", {"model": "ddpm_fashion-mnist", "params": {"sampler": "ddim", "eta": 2}}),
        ("sample", {"model": "made_digits", "params": {"order": 8}}),
        ("sample", {"model": "screen_mnist"}),
        ("energy", {"images": []}),
        ("energy", {"images": image, "colour": 1}),
        ("energy", {"images": image, "params": {"estimator": "ais"}}),
        ("log_likelihood", {"images": image, "params": {"estimator": "exact"}}),
        ("log_likelihood", {"images": image, "label": 1}),
        (
            "log_likelihood",
            {"images": image, "model": "vae_mnist", "params": {"num_samples": 10001}},
        ),
        ("ood_score", {"images": image, "alpha": 0}),
        ("ood_score", {"images": image, "alpha": 1.0}),
        ("ood_score", {"images": image, "score": "none"}),
        ("ood_score", {"images": image, "guarantee": "none"}),
        ("ood_score", {"images": image, "delta": 0.0}),
        ("ood_score", {"images": image, "model": "ddpm_fashion-mnist"}),
        ("classify", {"images": image, "model": "glow_digits"}),
        ("reconstruct", {"images": image, "model": "glow_digits"}),
        ("compress", {"images": image, "model": "glow_digits"}),
        ("compress", {"images": image, "model": _MODEL_OF_STREAM}),
    ]
    return [ask(f"field {i} {n}", f"/{n}", **fields) for i, (n, fields) in enumerate(given)]


def _forms() -> list[Request]:
    """Answers in forms that there are not."""
    large: dict[str, Any] = {"model": "jem_fraktur-glyphs", "num_samples": 256, "seed": 1}
    steps = {"num_steps": 1000}
    return [
        ask("accept none", "/sample", "text/html"),
        ask("accept zero", "/sample", "image/png;q=0, application/pdf"),
        ask("vectors as picture", "/sample", _PNG, model=_VECTORS, seed=1),
        ask("vectors as film", "/sample", "image/gif", model=_VECTORS, seed=1),
        ask("too many frames", "/sample", "image/gif", params=steps, progress_every=1, seed=1),
        ask("too large a film", "/sample", "image/webp", **large),
        ask("refused before it streams", "/sample", FORMS[3], params={"step_size": 1e9}, seed=1),
    ]


def _streams() -> Exchanges:
    """A stream of one image, whole and damaged."""
    made = yield ask("stream", "/sample", "application/zip", model=_MODEL_OF_STREAM, seed=1)
    path = f"/compress?model={_MODEL_OF_STREAM}"
    whole = (yield form("stream packed", path, files_of(made))).body
    yield post("stream as picture", "/decompress", STREAM, whole, _PNG)
    yield post("stream watched", "/decompress?progress_every=8", STREAM, whole, FORMS[3])
    yield ask("stream in json", "/decompress", JSON, stream=text(whole), model=_MODEL_OF_STREAM)
    body = whole[:-4]
    damaged = {
        "cut": whole[:-9],
        "longer": _summed(body + b"\0"),
        "flipped": body[:-1] + bytes((body[-1] ^ 1,)) + whole[-4:],
        "of text": b"not a stream",
        "of another format": _summed(body[:4] + b"\x02" + body[5:]),
        "of format 0": _summed(body[:4] + b"\x00" + body[5:]),
        "of another version": _summed(body.replace(body[21:24], b"\0\0\0", 1)),
        "of another model": _summed(body.replace(b"pixelcnn", b"pixelfoo", 1)),
        "of another backend": _summed(_other_backend(body)),
        "with other bits": _summed(body[:-3] + b"\xff\xff\xff"),
    }
    for name, data in damaged.items():
        yield post(f"stream {name}", "/decompress", STREAM, data, JSON)
    yield ask("stream not base64", "/decompress", stream="%%%")
    yield ask("stream missing", "/decompress", model=_MODEL_OF_STREAM)
    yield post("stream of a wish", "/decompress?model=idf_digits", STREAM, whole)
    yield post("stream as gif", "/decompress", STREAM, whole, "image/gif")
    changed = picture(pixels(1, (1, 8, 8))[0])
    yield post("stream with loss", path, _PNG, changed)


def _summed(body: bytes) -> bytes:
    return body + zlib.crc32(body).to_bytes(4, "little")


def _other_backend(body: bytes) -> bytes:
    """The name of the backend begins after magic, format, model (with its length) and version."""
    at = 5 + 1 + len(_MODEL_OF_STREAM) + 6 + 1
    return body[:at] + b"?" + body[at + 1 :]


def _bomb() -> bytes:
    """A PNG whose head promises more pixels than are accepted."""
    head = (60000).to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0))
    chunk = b"IHDR" + head
    checksum = zlib.crc32(chunk).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + len(head).to_bytes(4, "big") + chunk + checksum
