"""Entropy coding: integer tables that are sound, and bytes that are as short as they say."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.coding.codec import code_width, pack, plain_size, unpack
from models.core.coding.entropy import LEAST, TOTAL, Position, Reader, Writer, words_of
from models.core.coding.fixed_point import to_fixed_point
from models.core.coding.tables import cumulative, interval
from models.core.contract.grid import Grid
from models.core.distributions.levels import Output, OutputName, output
from tests.support.models.tiny import random_model

OUTPUTS: list[tuple[OutputName, int]] = [
    ("bernoulli", 2),
    ("categorical", 3),
    ("categorical", 17),
    ("logistic_mixture", 16),
    ("logistic_mixture", 256),
]
every_output = pytest.mark.parametrize(("name", "num_levels"), OUTPUTS)


def _params(head: Output, num: int = 64, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(num)
    shape = (num, head.num_params)
    return to_fixed_point(scale * torch.randn(shape, generator=generator, dtype=torch.float64))


@every_output
@pytest.mark.parametrize("scale", [0.0, 1.0, 8.0, 300.0])
def test_frequencies_sum_to_the_total_and_leave_nothing_out(
    name: OutputName, num_levels: int, scale: float
) -> None:
    head = output(name, num_levels)
    ends = cumulative(head, _params(head, scale=scale))
    assert ends.shape == (64, num_levels + 1)
    assert torch.equal(ends, ends.round())
    assert bool((ends[:, 0] == 0).all())
    assert bool((ends[:, -1] == TOTAL).all())
    assert float(ends.diff(dim=1).min()) >= LEAST


@every_output
def test_frequencies_are_the_probabilities(name: OutputName, num_levels: int) -> None:
    head = output(name, num_levels)
    params = _params(head, 256)
    expected, found = head.log_probs(params), (cumulative(head, params).diff(dim=1) / TOTAL).log()
    # What a code is too long by: the relative entropy, here in nats a symbol.
    lost = (expected.exp() * (expected - found)).sum(1)
    assert float(lost.max()) < 2e-3
    assert float(lost.mean()) < 1e-4


@every_output
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_an_encoder_finds_the_intervals_of_the_table(
    name: OutputName, num_levels: int, scale: float
) -> None:
    head = output(name, num_levels)
    params = _params(head, scale=scale)
    ends = cumulative(head, params)
    for level in {0, 1, num_levels // 2, num_levels - 1}:
        left, frequency = interval(head, params, torch.full((64,), level))
        assert torch.equal(left, ends[:, level])
        assert torch.equal(left + frequency, ends[:, level + 1])


@every_output
def test_a_table_does_not_depend_on_its_neighbours(name: OutputName, num_levels: int) -> None:
    head = output(name, num_levels)
    params = _params(head, 33)
    alone = torch.cat([cumulative(head, row[None]) for row in params])
    assert torch.equal(cumulative(head, params), alone)
    assert torch.equal(cumulative(head, params[None].expand(2, -1, -1))[1], alone)


def _tables(num: int, num_symbols: int, rng: np.random.Generator) -> np.ndarray:
    """Ends of random intervals, some as narrow as they can be. -> (num, num_symbols + 1)."""
    weight = rng.dirichlet(np.full(num_symbols, 0.1), num).cumsum(1)
    ends = np.floor(weight / weight[:, -1:] * (TOTAL - LEAST * num_symbols))
    ends = ends + LEAST * np.arange(1, num_symbols + 1)
    return np.concatenate([np.zeros((num, 1)), ends], 1).astype(np.int64)


def _written(ends: np.ndarray, symbols: np.ndarray) -> bytes:
    each, writer = np.arange(len(symbols)), Writer()
    left = ends[each, symbols]
    writer.write(left, ends[each, symbols + 1] - left)
    return writer.finish()


def _words(code: bytes, width: int = 0) -> np.ndarray:
    return words_of(np.frombuffer(code.ljust(width, b"\0"), np.uint8)[None])[0]


def _bits(ends: np.ndarray, symbols: np.ndarray) -> float:
    each = np.arange(len(symbols))
    return float(-np.log2((ends[each, symbols + 1] - ends[each, symbols]) / TOTAL).sum())


@pytest.mark.parametrize("num_symbols", [2, 3, 17, 256])
def test_what_was_written_is_read_and_takes_a_byte_too_much_at_most(num_symbols: int) -> None:
    rng = np.random.default_rng(num_symbols)
    for trial in range(150):
        ends = _tables(int(rng.integers(0, 150)), num_symbols, rng)
        drawn = rng.integers(0, TOTAL, len(ends))
        symbols = (ends[:, 1:-1] <= drawn[:, None]).sum(1)
        if trial % 5 == 0:
            symbols = rng.integers(0, num_symbols, len(ends))
        code = _written(ends, symbols)
        assert 8 * len(code) < _bits(ends, symbols) + 8
        whole = Reader(_words(code))
        assert np.array_equal(whole.read(ends), symbols)
        # Another reader goes on wherever one has stopped, as a row does at its next step.
        position, found = Position(), []
        for part in np.array_split(ends, 7):
            reader = Reader(_words(code), position)
            found.append(reader.read(part))
            position = reader.position
        assert np.array_equal(np.concatenate(found), symbols)
        assert position == whole.position


def test_a_code_is_the_number_that_arithmetic_coding_says() -> None:
    """Three symbols by hand: the shortest fraction inside [l, l + w) of exact arithmetic."""
    ends = np.array([[0, TOTAL // 2, TOTAL], [0, TOTAL // 4, TOTAL], [0, TOTAL // 8, TOTAL]])
    # [1/2, 1), then its first quarter [1/2, 5/8), then the upper 7/8 of that: [33/64, 40/64).
    assert _written(ends, np.array([1, 0, 1])) == bytes([33 * 4])
    assert _written(ends, np.array([0, 0, 0])) == b""
    assert _written(ends[:1], np.array([1])) == bytes([128])


def test_nonsense_is_read_as_something() -> None:
    rng = np.random.default_rng(0)
    for trial in range(300):
        ends = _tables(40, int(rng.integers(2, 40)), rng)
        code = rng.bytes(int(rng.integers(0, 60))) if trial % 3 else b"\xff" * trial
        reader = Reader(_words(code))
        for _ in range(3):
            symbols = reader.read(ends)
            assert symbols.shape == (40,)
            assert 0 <= symbols.min() <= symbols.max() < ends.shape[1] - 1


@pytest.mark.parametrize("num_levels", [2, 3, 16, 17, 256])
def test_plain_levels_are_unpacked_as_they_were_packed(num_levels: int) -> None:
    grid = Grid(num_levels)
    for num in (1, 7, 100):
        levels = np.random.default_rng(num).integers(0, num_levels, num)
        code = pack(grid, levels)
        assert (
            len(code) == plain_size(grid, num) == math.ceil(num * (num_levels - 1).bit_length() / 8)
        )
        assert np.array_equal(unpack(grid, code, num), levels)


def test_plain_levels_that_are_not_there_are_refused() -> None:
    with pytest.raises(ValueError, match="accepted are 0 to 16"):
        unpack(Grid(17), b"\xff" * 5, 8)


def test_continuous_events_have_no_code() -> None:
    with pytest.raises(ValueError, match="accepted are models of discrete"):
        code_width(random_model("maf", event_shape=(5,), num_levels=0))
    assert code_width(random_model("made")) == 16 * 9 // 8
