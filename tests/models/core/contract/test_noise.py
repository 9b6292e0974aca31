"""Noise is a pure function of (seed, step, stream), over all 64 bits of the seed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from models.core.contract.noise import event_seeds, normal, request_seeds, row_seeds, uniform

Draw = Callable[[Tensor, Tensor, tuple[int, ...], int], Tensor]
both = pytest.mark.parametrize("draw", [normal, uniform])


def at(draw: Draw, seed: int, step: int, num: int = 16, stream: int = 0) -> Tensor:
    """The numbers of one row."""
    return draw(torch.tensor([seed]), torch.tensor([step]), (num,), stream)[0]


@both
def test_the_same_place_gives_the_same_numbers(draw: Draw) -> None:
    torch.manual_seed(1)
    first = at(draw, 5, 3)
    torch.manual_seed(2)
    np.random.seed(2)
    assert torch.equal(at(draw, 5, 3), first)


@both
def test_rows_get_their_own_numbers_whatever_their_neighbours(draw: Draw) -> None:
    seed, step = torch.tensor([7, 7, 2**62 + 1, 0]), torch.tensor([1, 2, 1, 9])
    rows = draw(seed, step, (2, 3), 0)
    assert rows.shape == (4, 2, 3)
    assert rows.dtype == torch.float32
    for i in range(4):
        assert torch.equal(rows[i], draw(seed[i : i + 1], step[i : i + 1], (2, 3), 0)[0])


@both
def test_every_bit_of_the_seed_counts(draw: Draw) -> None:
    seeds = [1, 1 + 2**31, 1 + 2**32, 1 + 2**33, 1 + 2**53, 1 + 2**62, 2**63 - 1, 0, -1]
    drawn = {tuple(at(draw, seed, 0).tolist()) for seed in seeds}
    assert len(drawn) == len(seeds)


@both
def test_seed_step_and_stream_never_collide(draw: Draw) -> None:
    # (1, 2) and (2, 1), or seed + step, must not name the same place.
    places = [(seed, step, stream) for seed in range(6) for step in range(6) for stream in range(4)]
    drawn = {tuple(at(draw, seed, step, 4, stream).tolist()) for seed, step, stream in places}
    assert len(drawn) == len(places)


def test_streams_do_not_overlap_further_on() -> None:
    # A stream that only shifted the counter would repeat another's numbers some places later.
    long = at(uniform, 1, 1, 20_000, 0).tolist()
    windows = {tuple(long[i : i + 4]) for i in range(len(long) - 3)}
    for stream in (1, 2, 3):
        start = at(uniform, 1, 1, 64, stream).tolist()
        assert not any(tuple(start[i : i + 4]) in windows for i in range(60))


def test_these_numbers_are_for_ever() -> None:
    """A seed that somebody wrote down must go on naming the same sample."""
    expected = [-0.3608266, -0.2086328, -0.1206944]
    assert at(normal, 1, 2, 3).tolist() == pytest.approx(expected, abs=1e-6)
    expected = [0.4514002, 0.1908826, 0.7345798]
    assert at(uniform, 2**62 + 1, 0, 3, 1).tolist() == pytest.approx(expected, abs=1e-6)
    assert row_seeds(0, 2).tolist() == [7896617691693857887, 6195319269190327588]


def test_normal_is_standard_normal() -> None:
    num_rows, num = 400, 500
    x = normal(row_seeds(0, num_rows), torch.arange(num_rows), (num,)).double()
    total = num_rows * num
    # Four standard errors of each moment: 1, 2, 15 and 96 are the variances of x, x^2, x^3, x^4.
    assert abs(float(x.mean())) < 4 * math.sqrt(1 / total)
    assert abs(float(x.square().mean()) - 1) < 4 * math.sqrt(2 / total)
    assert abs(float(x.pow(3).mean())) < 4 * math.sqrt(15 / total)
    assert abs(float(x.pow(4).mean()) - 3) < 4 * math.sqrt(96 / total)
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3
    # First draws of neighbouring rows are independent too: one number from each of many rows.
    first = normal(torch.arange(5000), torch.zeros(5000, dtype=torch.int64), (1,))[:, 0].double()
    assert stats.kstest(first.numpy(), "norm").pvalue > 1e-3
    neighbours = float((first[1:] * first[:-1]).mean())
    assert abs(neighbours) < 4 / math.sqrt(4999)


def test_uniform_fills_the_half_open_interval() -> None:
    x = uniform(row_seeds(1, 100), torch.zeros(100, dtype=torch.int64), (2000,))
    assert float(x.min()) >= 0
    assert float(x.max()) < 1
    assert stats.kstest(x.flatten().double().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2**32 + 1, 2**63 - 1, 2**64])
def test_sample_i_has_the_same_seed_however_many_are_asked_for(seed: int) -> None:
    many = row_seeds(seed, 200)
    assert many.dtype == torch.int64
    assert bool((many >= 0).all())
    assert len(set(many.tolist())) == 200
    for num in (1, 2, 63):
        assert torch.equal(row_seeds(seed, num), many[:num])


def test_row_seeds_of_other_requests_differ() -> None:
    seeds = np.concatenate([row_seeds(s, 50).numpy() for s in (0, 1, 2, 2**32, 2**32 + 1)])
    assert len(set(seeds.tolist())) == 250


def test_the_seed_of_an_event_depends_on_nothing_else() -> None:
    x = torch.rand(6, 2, 3, generator=torch.Generator().manual_seed(0))
    seeds = event_seeds(torch.zeros(6, dtype=torch.int64), x)
    assert seeds.dtype == torch.int64
    assert bool((seeds >= 0).all())
    assert len(set(seeds.tolist())) == 6
    order = torch.tensor([3, 3, 0])
    # A view with other strides, and one that carries a gradient, are the same events.
    moved = x.transpose(1, 2).contiguous().transpose(1, 2)[order].requires_grad_(True)
    assert torch.equal(event_seeds(torch.zeros(3, dtype=torch.int64), moved), seeds[order])


def test_events_of_other_seeds_and_other_events_differ() -> None:
    x = torch.zeros(1, 4)
    requests = [0, 1, 2**32, 2**32 + 1, 2**63 - 1]
    found = {int(event_seeds(torch.tensor([seed]), x)) for seed in requests}
    near = torch.zeros(4, 4)
    near[range(4), range(4)] = 1e-6
    found |= set(event_seeds(torch.zeros(4, dtype=torch.int64), near).tolist())
    assert len(found) == 9


def test_the_seeds_of_events_are_for_ever() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4)
    assert event_seeds(torch.tensor([7]), pixels).tolist() == [9070904077172867910]
    assert event_seeds(torch.tensor([7]), pixels.float()).tolist() == [8431409010763496579]


def test_rows_of_a_request_share_its_seed_or_have_one_each() -> None:
    assert torch.equal(request_seeds(5, 3, shared=False), row_seeds(5, 3))
    shared = request_seeds(2**53 - 1, 3, shared=True)
    assert shared.dtype == torch.int64
    assert shared.tolist() == [2**53 - 1] * 3
