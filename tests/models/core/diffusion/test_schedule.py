"""Schedules of diffusion: the formulas they stand for, and times between the whole ones."""

import math
from typing import Any

import pytest
import torch

from models.core.diffusion.schedule import Schedule, ScheduleName

every_name = pytest.mark.parametrize("name", ["reference", "cosine"])


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@every_name
@pytest.mark.parametrize("num_train_steps", [1, 2, 20, 1000])
def test_shares_of_data_and_noise_make_a_whole(name: ScheduleName, num_train_steps: int) -> None:
    schedule = Schedule(num_train_steps, name)
    t = torch.linspace(0, num_train_steps, 173, dtype=torch.float64)
    alpha_bar, beta_bar = schedule.alpha_bar(t), schedule.beta_bar(t)
    torch.testing.assert_close(alpha_bar.square() + beta_bar.square(), torch.ones_like(t))
    assert bool((alpha_bar.diff() < 0).all())
    assert (float(alpha_bar[0]), float(beta_bar[0])) == (1.0, 0.0)
    assert float(alpha_bar[-1]) > 0


def test_the_reference_is_a_product_of_its_alphas() -> None:
    schedule = Schedule(1000)
    expected = 1.0
    for t in range(1, 1001):
        expected *= math.sqrt(1 - 0.02 * t / 1000)
        if t in (1, 2, 500, 1000):
            assert float(schedule.alpha_bar(times(t))) == pytest.approx(expected, rel=1e-12)
    # 0.5 log of a product of 1 - 0.02 t / T is about -0.005 T.
    assert float(schedule.log_alpha_bar(times(1000))) == pytest.approx(-5.04, abs=0.01)


def test_the_cosine_is_one_and_its_last_step_is_capped() -> None:
    schedule = Schedule(100, "cosine")
    angles = [(t / 100 + 0.008) / 1.008 * math.pi / 2 for t in (0, 37, 99, 100)]
    start, middle, late, _ = map(math.cos, angles)
    assert float(schedule.alpha_bar(times(37))) == pytest.approx(middle / start, rel=1e-12)
    assert float(schedule.alpha_bar(times(99))) == pytest.approx(late / start, rel=1e-12)
    capped = late / start * math.sqrt(0.001)
    assert float(schedule.alpha_bar(times(100))) == pytest.approx(capped, rel=1e-9)


@every_name
def test_other_numbers_of_steps_end_in_as_much_noise(name: ScheduleName) -> None:
    for num_train_steps in (20, 100, 1000):
        end = Schedule(num_train_steps, name).alpha_bar(times(num_train_steps))
        assert float(end) < 0.01


def test_the_signal_to_noise_ratio_is_in_logs() -> None:
    schedule, t = Schedule(1000), times(0, 1, 500, 1000)
    ratio = (schedule.alpha_bar(t) / schedule.beta_bar(t)).log()
    torch.testing.assert_close(schedule.log_snr(t), ratio)
    assert float(schedule.log_snr(times(0))) == math.inf


def test_it_does_not_matter_how_times_are_given() -> None:
    schedule = Schedule(1000)
    expected = schedule.beta_bar(times(3, 999))
    assert torch.equal(schedule.beta_bar(torch.tensor([3, 999])), expected)
    assert torch.equal(schedule.beta_bar(torch.tensor([3.0, 999.0])), expected)


def test_what_is_no_schedule_is_refused() -> None:
    unknown: Any = "linear"
    with pytest.raises(ValueError, match="accepted are reference, cosine"):
        Schedule(10, unknown)
    with pytest.raises(ValueError, match="accepted are 1 and more"):
        Schedule(0)
