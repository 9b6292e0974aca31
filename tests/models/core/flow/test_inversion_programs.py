"""Inversion as a program: both methods find the same inverse, and rows stop one by one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.contract.rows import Rows, concat, split
from models.core.flow.inversion import Inversion, InversionParams
from models.maf import Config, Model
from tests.support.models.invertible import draws, wild

D = 32


def blocks_of(dtype: torch.dtype = torch.float32, num_components: int = 1) -> Inversion:
    """Three blocks of 32 dimensions, as steep as training leaves them (see the first test)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Config(
            event_shape=(D,),
            num_levels=0,
            num_blocks=3,
            num_components=num_components,
            hidden=(32, 32),
            activation="relu",
        )
        model = Model(config)
    wild(model, 0.2).to(dtype)
    return Inversion(model.blocks)


def start(inversion: Inversion, z: Tensor, params: InversionParams) -> Rows:
    """As an operation would."""
    return inversion.start(z, z.new_zeros(len(z)), params)


def inverted(inversion: Inversion, z: Tensor, **params: Any) -> tuple[Tensor, Tensor, Tensor]:
    """x, log_abs_det and how many passes each row took. Shapes: (B, D), (B,), (B,)."""
    rows = start(inversion, z, InversionParams(**params))
    passes = torch.zeros(len(z), dtype=torch.int64)
    for _ in range(inversion.num_passes):
        passes += ~rows["done"]
        rows = inversion.step(rows)
    assert bool(rows["done"].all())
    return rows["target"], rows["log_abs_det"], passes


def test_the_blocks_are_steep_enough_to_tell() -> None:
    inversion = blocks_of()
    x, log_abs_det, _ = inverted(inversion, draws(16, (D,)).float())
    assert float(x.abs().max()) > 5
    assert float(log_abs_det.std()) > 1


@pytest.mark.parametrize("num_components", [1, 3])
def test_a_fixed_point_is_the_sequential_inverse(num_components: int) -> None:
    inversion = blocks_of(num_components=num_components)
    z = draws(16, (D,)).float()
    x, log_abs_det, passes = inverted(inversion, z)
    expected, total, every = inverted(inversion, z, method="sequential")
    torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(log_abs_det, total, atol=1e-4, rtol=1e-5)
    assert every.tolist() == [3 * D] * 16
    assert int(passes.max()) < 3 * D / 2


@pytest.mark.parametrize("method", ["sequential", "fixed_point"])
def test_it_is_the_inverse_of_the_blocks(method: str) -> None:
    inversion = blocks_of(torch.float64)
    z = draws(4, (D,))
    x, log_abs_det, _ = inverted(inversion, z, method=method, tolerance=0)
    total = torch.zeros_like(log_abs_det)
    for block in reversed(inversion.blocks):
        x, forward = block(x)
        total = total + forward
    torch.testing.assert_close(x, z, atol=1e-8, rtol=0)
    torch.testing.assert_close(log_abs_det, -total, atol=1e-8, rtol=0)


def test_after_k_passes_the_first_k_dimensions_are_right_from_any_guess() -> None:
    block = blocks_of(torch.float64).blocks[1]
    order = block.net.order()
    h, guess = draws(3, (D,)), 30 * draws(3, (D,), seed=1)
    z, _ = block.conditional.forward(h, block.net(h))
    for num in range(1, D + 1):
        guess, _ = block.solve(z, guess)
        torch.testing.assert_close(guess[:, order[:num]], h[:, order[:num]], atol=1e-8, rtol=0)
        if num == 1:
            assert float((guess - h).abs().max()) > 1


def test_a_larger_tolerance_is_reached_sooner() -> None:
    inversion = blocks_of(torch.float64)
    z = draws(6, (D,))
    exact, _, most = inverted(inversion, z, tolerance=0)
    for tolerance in (1e-2, 1e-4, 1e-8):
        x, _, passes = inverted(inversion, z, tolerance=tolerance)
        assert bool((passes < most).all())
        # A row stops by its own change: its error is that change times what the map amplifies.
        assert 0 < float((x - exact).abs().max()) < 100 * tolerance


def test_rows_stop_by_themselves_in_any_company() -> None:
    inversion = blocks_of(torch.float64)
    z = torch.cat([draws(3, (D,)) * s for s in (0, 0.3, 1, 3)])
    alone = [inverted(inversion, row[None]) for row in z]
    x, log_abs_det, passes = inverted(inversion, z)
    assert len(set(passes.tolist())) > 4
    assert passes.tolist() == [int(one[2]) for one in alone]
    torch.testing.assert_close(x, torch.cat([one[0] for one in alone]), atol=1e-10, rtol=0)
    expected = torch.cat([one[1] for one in alone])
    torch.testing.assert_close(log_abs_det, expected, atol=1e-10, rtol=0)


def test_rows_at_other_blocks_with_other_methods_share_a_step() -> None:
    inversion = blocks_of(torch.float64)
    z = draws(6, (D,))
    params = [InversionParams(), InversionParams("sequential"), InversionParams(tolerance=1e-3)]
    inside = [start(inversion, z[2 * i : 2 * i + 2], p) for i, p in enumerate(params)]
    for _ in range(40):  # the second starts when the first is blocks ahead
        inside[0] = inversion.step(inside[0])
    rows = concat(inside)
    assert rows["block"][:2].tolist() != [0, 0]
    for _ in range(inversion.num_passes):
        rows = inversion.step(rows)
    for i, (part, one) in enumerate(zip(split(rows, [2, 2, 2]), params, strict=True)):
        expected, total, _ = inverted(inversion, z[2 * i : 2 * i + 2], **vars(one))
        torch.testing.assert_close(part["target"], expected, atol=1e-10, rtol=0)
        torch.testing.assert_close(part["log_abs_det"], total, atol=1e-10, rtol=0)


def test_a_row_that_is_done_asks_no_more_of_the_network() -> None:
    inversion = blocks_of()
    rows = start(inversion, torch.zeros(1, D), InversionParams(tolerance=0.01))
    while not bool(rows["done"].all()):
        rows = inversion.step(rows)
    seen: list[int] = []
    for block in inversion.blocks:
        block.net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    late = start(inversion, draws(1, (D,)).float(), InversionParams())
    inversion.step(concat([rows, late]))
    assert seen == [1]
