"""From what a request brings to an operation's input columns: events, latents and seeds."""

import asyncio
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from models.core.contract.noise import request_seeds
from models.core.contract.rows import Rows
from service.catalog.description import ModelDescription, OperationDescription
from service.errors import UnsupportedOperation
from service.http.body import Body, too_many
from service.media.arrays import ArraySpec, from_lists, from_npy, unit
from service.media.decode import Decoder
from service.media.grid import discretised, on_grid

_LARGE_BYTES = 2**20
"""Arrays beyond this are converted in a thread."""


@dataclass(frozen=True)
class Uploads:
    """What a request brings, in the form that the model takes."""

    columns: Rows
    """x (B, *event_shape) or z (B, *latent_shape), float32."""
    converted: list[list[str]]
    """Per row: what was changed to make it fit."""

    @property
    def num(self) -> int:
        """How many rows there are."""
        return len(self.converted)


async def events(
    body: Body, model: ModelDescription, decoder: Decoder, max_rows: int
) -> Uploads | None:
    """The images or arrays of a request, None if there are none. Raises what is wrong."""
    if body.images:
        return await _pictures(body.images, model, decoder, max_rows)
    x = await _array(body, ArraySpec(model.event_shape, grid=model.grid), max_rows)
    if x is None:
        return None
    return await _on_grid_of(model, x)


async def events_again(
    body: Body,
    uploads: Uploads,
    model: ModelDescription,
    other: ModelDescription,
    decoder: Decoder,
    max_rows: int,
) -> Uploads:
    """The events of a request about one model, in the form of another of the same event shape.

    Raises what is wrong with them for the other one.
    """
    if model.takes_images and model.preprocessing == other.preprocessing:
        if other.grid in (None, model.grid):
            return uploads
        return await _on_grid_of(other, uploads.columns["x"].numpy())
    again = await events(body, other, decoder, max_rows)
    assert again is not None
    return again


async def _on_grid_of(model: ModelDescription, x: np.ndarray) -> Uploads:
    """Rows of an array as events of a model."""
    notes: list[list[str]] = [[] for _ in x]
    if model.grid is not None:
        work = partial(discretised, x, model.grid, model.preprocessing)
        x, notes = work() if x.nbytes <= _LARGE_BYTES else await asyncio.to_thread(work)
    return Uploads({"x": torch.from_numpy(x)}, notes)


async def latents(body: Body, model: ModelDescription, _: Decoder, max_rows: int) -> Uploads | None:
    """The latents of a request, None if there are none. Raises what is wrong with them."""
    shape = model.latent_shape
    if shape is None:
        raise UnsupportedOperation(f"model {model.name} has no latents")
    z = await _array(body, ArraySpec(shape, "latent"), max_rows)
    return None if z is None else Uploads({"z": torch.from_numpy(z)}, [[] for _ in z])


async def _array(body: Body, spec: ArraySpec, max_rows: int) -> np.ndarray | None:
    """The lists or the npy file of a request as float32 rows; large ones in a thread."""
    if body.lists is not None:
        _check_num(len(body.lists), f"{spec.noun}s", max_rows)
        return await asyncio.to_thread(from_lists, body.lists, spec)
    if body.npy is None:
        return None
    work = partial(from_npy, body.npy, spec)
    array = work() if len(body.npy) <= _LARGE_BYTES else await asyncio.to_thread(work)
    _check_num(len(array), f"{spec.noun}s", max_rows)
    return array


async def _pictures(
    images: list[bytes], model: ModelDescription, decoder: Decoder, max_rows: int
) -> Uploads:
    _check_num(len(images), "images", max_rows)
    form, grid = model.preprocessing, model.grid
    if form is None:
        raise UnsupportedOperation(
            f"model {model.name} is about vectors of shape {model.event_shape}: "
            "accepted are instances and npy arrays"
        )
    decoded = await decoder.decode(images, form)
    x = unit(np.stack([image.pixels for image in decoded]))
    x = x if grid is None else on_grid(x, grid)
    return Uploads({"x": torch.from_numpy(x)}, [list(image.notes) for image in decoded])


def _check_num(num: int, what: str, max_rows: int) -> None:
    if num > max_rows:
        raise too_many(num, what, max_rows)


def input_columns(
    model: ModelDescription,
    operation: OperationDescription,
    seed: int,
    num: int,
    uploads: Uploads | None = None,
    label: int = -1,
) -> Rows:
    """The input columns of an operation; one upload serves all rows. Label -1 stands for none."""
    columns = {"seed": request_seeds(seed, num, shared=operation.shares_seed)}
    for name, column in (uploads.columns if uploads else {}).items():
        columns[name] = column if len(column) == num else column.expand(num, *column.shape[1:])
    if operation.takes_label and model.class_names:
        columns["label"] = torch.from_numpy(np.full(num, label))
    return columns
