"""Batches are a pure function of (seed, step) and show every image once an epoch."""

import numpy as np
import pytest
import torch

from training.data.batches import Batches, Steps, random
from training.data.splits import Split


def numbered(num: int) -> Split:
    """Images that carry their number, which is their label too."""
    x = np.arange(num, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2), np.uint8)
    return Split(x, np.arange(num, dtype=np.int64))


def epoch(batches: Batches, number: int) -> list[int]:
    """The labels of one epoch, in order."""
    steps = len(batches.y) // batches.batch_size
    return [int(k) for i in range(steps) for k in batches.at(number * steps + i)[1]]


@pytest.mark.parametrize("number", [0, 1, 7])
def test_every_image_comes_once_an_epoch(number: int) -> None:
    assert sorted(epoch(Batches(numbered(60), 12, seed=3), number)) == list(range(60))


def test_a_remainder_is_another_one_each_epoch() -> None:
    batches = Batches(numbered(10), 4, seed=0)
    seen = [epoch(batches, i) for i in range(20)]
    assert all(len(set(labels)) == 8 for labels in seen)
    assert {label for labels in seen for label in labels} == set(range(10))


def test_epochs_seeds_and_streams_have_orders_of_their_own() -> None:
    orders = [epoch(Batches(numbered(60), 12, seed=3), number) for number in range(4)]
    orders += [epoch(Batches(numbered(60), 12, seed=seed), 0) for seed in (0, 1, 2**32 + 3)]
    orders += [epoch(Batches(numbered(60), 12, seed=3, stream=stream), 0) for stream in (1, 2)]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_a_step_is_the_same_whenever_and_by_whomever_it_is_asked_for() -> None:
    one, other = Batches(numbered(50), 7, seed=1), Batches(numbered(50), 7, seed=1)
    forward = [one.at(step) for step in range(40)]
    torch.manual_seed(99)
    for step in (39, 3, 17, 0, 3, 25):  # resumed, from another epoch and back
        x, y = other.at(step)
        assert torch.equal(x, forward[step][0])
        assert torch.equal(y, forward[step][1])


def test_events_are_in_the_unit_interval_beside_their_labels() -> None:
    x, y = Batches(numbered(200), 32, seed=0).at(2)
    assert (x.shape, x.dtype, y.dtype) == ((32, 1, 2, 2), torch.float32, torch.int64)
    assert torch.equal((x[:, 0, 0, 0] * 255).round().long(), y)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_a_batch_is_no_larger_than_the_split() -> None:
    x, y = Batches(numbered(5), 64, seed=0).at(100)
    assert len(x) == 5
    assert sorted(y.tolist()) == list(range(5))


def test_generators_of_other_places_differ() -> None:
    places = [
        (seed, step, stream) for seed in (0, 1, 2**32) for step in (0, 1, 2) for stream in (0, 1)
    ]
    drawn = {tuple(random(*place).integers(2**62, size=3)) for place in places}
    assert len(drawn) == len(places)
    assert random(1, 2, 3).random() == random(1, 2, 3).random()


def test_the_loader_counts_steps() -> None:
    steps = Steps(4)
    assert len(steps) == 4
    assert [steps[i] for i in range(4)] == [0, 1, 2, 3]
