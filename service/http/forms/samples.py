"""Samples in the form that was negotiated: JSON, a PNG grid, a zip of PNGs or an npz."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.responses import Response
from torch import Tensor

from models.core.contract.grid import quantise
from service.engine.messages import Answer
from service.errors import InvalidRequest, NotAcceptable
from service.http.body import JSON
from service.http.call import Call
from service.media.encode import Animated, npz, png, tiled, zipped
from service.results.results import nested
from service.schema.requests import Format

PNG, ZIP, NPZ = "image/png", "application/zip", "application/x-npz"
ANIMATIONS: dict[str, Animated] = {"image/gif": "GIF", "image/webp": "WEBP", "image/apng": "PNG"}
FORMS = (JSON, PNG, ZIP, NPZ, *ANIMATIONS)


def check_form(call: Call[Any]) -> None:
    """Raises NotAcceptable if vectors were asked for as pictures."""
    if call.media_type in (PNG, ZIP, *ANIMATIONS) and not call.model.takes_images:
        raise NotAcceptable(f"the samples are vectors: offered are {JSON} and {NPZ}")


def reply(
    call: Call[Any],
    answers: Sequence[Answer],
    wish: Format,
    members: dict[str, Any],
    seed: int,
) -> Response:
    """The column x, in JSON beside other members; other forms name the seed in a header.

    Raises InvalidRequest if something that is not finite would have to be a picture.
    """
    x = answers[0].rows["x"]
    headers = seed_header(seed)
    if call.media_type == NPZ:
        return call.reply_bytes(answers, npz(x=x.numpy(), seed=np.array(seed)), headers)
    if call.media_type == JSON:
        form: Format = wish if call.model.takes_images else "arrays"
        samples = _numbers(x) if form == "arrays" else _texts(x)
        return call.reply(answers, **members, format=form, samples=samples)
    images = pixels(x)
    if call.media_type == PNG:
        return call.reply_bytes(answers, png(tiled(images)), headers)
    files = [(f"sample_{i:04d}.png", png(tile)) for i, tile in enumerate(images)]
    return call.reply_bytes(answers, zipped(files), headers)


def seed_header(seed: int) -> dict[str, str]:
    """What answers that are no JSON say of their seed."""
    return {"X-Seed": str(seed)}


def pixels(x: Tensor) -> np.ndarray:
    """Raises InvalidRequest if not all is finite. Shapes: (B, C, H, W) -> uint8 (B, C, H, W)."""
    finite = _finite(x)
    if not finite.all():
        raise InvalidRequest(
            f"sample {int(finite.argmin())} is not finite and has no picture: accepted are "
            f"{JSON} and {NPZ}, or params and latents that are less extreme"
        )
    levels: np.ndarray = quantise(x).numpy()
    return levels


def _numbers(x: Tensor) -> list[Any]:
    """Six decimals tell grey levels apart; vectors have units of their own."""
    if x.ndim == 4 and _finite(x).all():
        rows: list[Any] = x.double().numpy().round(6).tolist()
        return rows
    return nested(x)


def _texts(x: Tensor) -> list[str | None]:
    """PNGs in base64, None for an image that is not finite."""
    return [
        base64.b64encode(png(tile)).decode() if finite else None
        for tile, finite in zip(quantise(x).numpy(), _finite(x), strict=True)
    ]


def _finite(x: Tensor) -> np.ndarray:
    """Whether all numbers of a row are. Shapes: (B, ...) -> (B,)."""
    finite: np.ndarray = x.isfinite().flatten(1).all(1).numpy()
    return finite
