"""Arrays as JSON instances and as npy bodies: shapes, ranges and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.core.contract.grid import Grid, to_unit
from service.errors import InvalidArray
from service.media.arrays import ArraySpec, from_lists, from_npy, unit
from tests.support.service.pictures import npy

SHAPE = (1, 2, 3)
IMAGES = ArraySpec(SHAPE)


def test_instances_become_events() -> None:
    events = from_lists([[[[0, 0.5, 1], [0, 0, 0]]]] * 2, IMAGES)
    assert events.dtype == np.float32
    assert events.shape == (2, *SHAPE)
    assert events[1, 0, 0].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_float_layout_gives_the_same_events(dtype: str, order: Any) -> None:
    x = (np.arange(12).reshape(2, *SHAPE) / 16).astype(np.float32)
    events = from_npy(npy(np.asarray(x, dtype=dtype, order=order)), IMAGES)
    assert np.array_equal(events, x)
    assert events.flags.writeable


def test_every_grey_level_becomes_what_it_was_in_training() -> None:
    levels = np.arange(256, dtype=np.uint8)
    assert torch.equal(torch.from_numpy(unit(levels)), to_unit(torch.from_numpy(levels)))


def test_grey_levels_become_unit_events() -> None:
    events = from_npy(npy(np.full((1, *SHAPE), 51, np.uint8)), IMAGES)
    assert events[0, 0, 0, 0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "spec", [ArraySpec((2,)), ArraySpec((2,), "latent"), ArraySpec((1, 1, 2), "latent")]
)
def test_vectors_and_latents_may_be_any_finite_numbers(spec: ArraySpec) -> None:
    rows = np.array([[-7, 1e6]]).reshape(1, *spec.shape)
    assert from_lists(rows.tolist(), spec).tolist() == rows.tolist()
    assert from_npy(npy(rows), spec).tolist() == rows.tolist()
    with pytest.raises(InvalidArray, match="grey levels"):
        from_npy(npy(rows.clip(0, 9).astype(np.uint8)), spec)
    for bad in (np.nan, np.inf, 1e39):
        with pytest.raises(InvalidArray, match=f"{spec.noun} 0 holds NaN or infinity"):
            from_lists((rows * bad).tolist(), spec)
    with pytest.raises(InvalidArray, match=f"number of {spec.noun}s"):
        from_lists(rows[0].tolist(), spec)


def test_counts_lie_between_zero_and_the_largest() -> None:
    spec = ArraySpec((2,), grid=Grid(17, 16.0))
    assert from_lists([[0, 16]], spec).tolist() == [[0, 16]]
    assert from_npy(npy(np.array([[3, 16]], np.uint8)), spec).tolist() == [[3, 16]]
    for bad in ([0, -1], [17, 0], [16.001, 3]):
        with pytest.raises(InvalidArray, match=r"instance 1 .* whole numbers from 0 to 16"):
            from_lists([[1, 1], bad], spec)
    with pytest.raises(InvalidArray, match="whole numbers from 0 to 16"):
        from_npy(npy(np.array([[3, 200]], np.uint8)), spec)


@pytest.mark.parametrize(
    "instances",
    [
        [],
        [[[[0, 0, 0], [0, 0]]]],
        [[[0, 0, 0], [0, 0, 0]]],
        [[[["0", "0", "0"], ["0", "0", "0"]]]],
        [[[[True, True, True], [True, True, True]]]],
        [[[[None, 0, 0], [0, 0, 0]]]],
        [[[[float("nan"), 0, 0], [0, 0, 0]]]],
        [[[[float("inf"), 0, 0], [0, 0, 0]]]],
        [[[[1e300, 0, 0], [0, 0, 0]]]],
        [[[[10**400, 0, 0], [0, 0, 0]]]],
        [[[[-0.1, 0, 0], [0, 0, 0]]]],
        [[[[255, 0, 0], [0, 0, 0]]]],
        [{"a": 1}],
        [7],
        [[]],
    ],
)
def test_instances_that_are_refused(instances: list[Any]) -> None:
    with pytest.raises(InvalidArray):
        from_lists(instances, IMAGES)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        npy(np.zeros((1, *SHAPE)))[:-1],
        npy(np.zeros((1, *SHAPE))) + b"0",
        npy(np.zeros((0, *SHAPE))),
        npy(np.zeros(SHAPE)),
        npy(np.zeros(())),
        npy(np.zeros((1, *SHAPE), np.int64)),
        npy(np.zeros((1, *SHAPE), np.complex64)),
        npy(np.full((1, *SHAPE), np.nan)),
        npy(np.full((1, *SHAPE), -np.inf)),
        npy(np.full((1, *SHAPE), 1.5)),
        npy(np.array([{"a": 1}], dtype=object)),
        npy(np.zeros((1, *SHAPE))).replace(b"(1, 1, 2, 3)", b"(9, 1, 2, 3)"),
        npy(np.zeros((1, *SHAPE))).replace(b"(1, 1, 2, 3), }        ", b"(1000000000000,1,2,3), }"),
        npy(np.zeros((1, *SHAPE))).replace(b"NUMPY\x01", b"NUMPY\x03"),
        npy(np.zeros((1, *SHAPE))).replace(b"'descr'", b"__import"),
    ],
)
def test_npy_bodies_that_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArray):
        from_npy(data, IMAGES)


@given(
    flips=st.lists(st.tuples(st.integers(0, 175), st.integers(0, 255)), max_size=10),
    end=st.integers(0, 300),
)
def test_a_damaged_npy_is_read_or_refused_and_nothing_else(
    flips: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(npy(np.zeros((1, *SHAPE))))
    for position, value in flips:
        data[position] = value
    try:
        events = from_npy(bytes(data[: end or None]), IMAGES)
    except InvalidArray:
        return
    assert events.shape[1:] == SHAPE


@pytest.mark.parametrize("shape", [(True, *SHAPE), (1, True, 2, 3), (False, *SHAPE)])
def test_a_shape_with_booleans_is_refused(shape: tuple[int, ...]) -> None:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(6)
    with pytest.raises(InvalidArray, match=r"shape \(.*accepted is"):
        from_npy(data, IMAGES)


def test_one_long_text_does_not_widen_the_others() -> None:
    # NumPy would make 4 TB of these: as many characters for every entry.
    with pytest.raises(InvalidArray, match="other things than numbers"):
        from_lists(["x" * 10**6, *[""] * 10**6], ArraySpec((1,)))
