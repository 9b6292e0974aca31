"""Inversion by contraction as a program: rows stop one by one, at other blocks, in any company."""

from typing import Any

import torch
from torch import Tensor

from models.core.contract.rows import Rows, concat, split
from models.core.flow.contraction_programs import ContractionParams
from models.residual_flow import Config, Model
from tests.support.models.invertible import draws, seeded, wild

D = 6


def model_of(dtype: torch.dtype = torch.float64) -> Model:
    """Four blocks, each slower to invert than most that are trained."""
    with seeded():
        config = Config(event_shape=(D,), num_levels=0, blocks_at=(4,), lipschitz=0.95)
        model = Model(config)
    wild(model, 1.0)
    return model.to(dtype).eval()


def inverted(model: Model, z: Tensor, **params: Any) -> tuple[Tensor, Tensor]:
    """x and how many passes each row took. Shapes: (B, D), (B,)."""
    operation = model.operations()["decode"]
    given = ContractionParams(**params)
    rows = operation.init({"z": z}, given)
    passes = torch.zeros(len(z), dtype=torch.int64)
    for _ in range(operation.num_steps(given)):
        passes += ~rows["done"]
        rows = operation.step(rows)
        if bool(rows["done"].all()):
            break
    assert bool(rows["done"].all())
    return operation.finish(rows)["x"], passes


def spread_out() -> Tensor:
    """Latents near the middle and far out. -> (12, D)."""
    return torch.cat([draws(3, (D,), seed=int(s)) * s for s in (0, 1, 3, 10)])


def test_the_program_finds_the_inverse() -> None:
    model, z = model_of(), spread_out()
    x, _ = inverted(model, z, tolerance=1e-8)
    torch.testing.assert_close(model.flow(x)[0], z, atol=1e-5, rtol=0)
    torch.testing.assert_close(x, model.decode(z), atol=1e-5, rtol=1e-6)


def test_in_float32_the_inverse_error_is_below_1e_5() -> None:
    model = model_of(torch.float32)
    model.initialise(draws(200, (D,)).float())
    x = draws(50, (D,), seed=1).float()
    again, _ = inverted(model, model.flow(x)[0])
    torch.testing.assert_close(again, x, atol=1e-5, rtol=0)


def test_a_larger_tolerance_is_reached_sooner() -> None:
    model, z = model_of(), spread_out()
    exact, most = inverted(model, z, tolerance=1e-8)
    for tolerance in (1e-2, 1e-4):
        x, passes = inverted(model, z, tolerance=tolerance)
        assert bool((passes < most).all())
        assert 0 < float((x - exact).abs().max()) < 1000 * tolerance


def test_rows_stop_by_themselves_in_any_company() -> None:
    model, z = model_of(), spread_out()
    alone = [inverted(model, row[None]) for row in z]
    x, passes = inverted(model, z)
    assert len(set(passes.tolist())) > 2
    assert passes.tolist() == [int(one[1]) for one in alone]
    torch.testing.assert_close(x, torch.cat([one[0] for one in alone]), atol=1e-10, rtol=0)


def test_rows_at_other_blocks_with_other_tolerances_share_a_step() -> None:
    model, z = model_of(), spread_out()[3:9]
    operation = model.operations()["decode"]
    params = [ContractionParams(t) for t in (1e-7, 1e-2, 1e-5)]
    inside = [operation.init({"z": z[2 * i : 2 * i + 2]}, p) for i, p in enumerate(params)]
    while not bool((inside[0]["block"] == 2).all()):  # the others join when it is blocks ahead
        inside[0] = operation.step(inside[0])
    rows: Rows = concat(inside)
    for _ in range(operation.num_steps(params[0])):
        rows = operation.step(rows)
    for i, part in enumerate(split(rows, [2, 2, 2])):
        expected, _ = inverted(model, z[2 * i : 2 * i + 2], tolerance=params[i].tolerance)
        torch.testing.assert_close(operation.finish(part)["x"], expected, atol=1e-10, rtol=0)


def test_a_row_that_is_done_asks_no_more_of_the_network() -> None:
    model = model_of()
    operation, params = model.operations()["decode"], ContractionParams(0.01)
    rows = operation.init({"z": torch.zeros(1, D).double()}, params)
    while not bool(rows["done"].all()):
        rows = operation.step(rows)
    seen: list[int] = []
    for block in model.blocks:
        block.net.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    operation.step(concat([rows, operation.init({"z": draws(1, (D,))}, params)]))
    assert seen == [1]


def test_a_row_that_never_settles_ends_where_its_passes_are_spent() -> None:
    model = model_of()
    operation, params = model.operations()["decode"], ContractionParams(0.01)
    rows = operation.init({"z": torch.full((1, D), torch.nan).double()}, params)
    for _ in range(operation.num_steps(params)):
        assert not bool(rows["done"].any())
        rows = operation.step(rows)
    assert bool(rows["done"].all())
    assert bool(operation.finish(rows)["x"].isnan().all())
