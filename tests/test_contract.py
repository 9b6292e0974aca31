"""What every operation of every family promises, whatever it computes."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from models.core.contract.likelihood import Likelihood
from models.core.contract.rows import Rows, num_rows
from models.core.diffusion.sample import DiffusionSample
from tests.support.models.cases import (
    CASES,
    OPERATIONS,
    Case,
    assert_same,
    cases_of,
    in_company,
    model_of,
    rows_at,
    title,
)

every_case = pytest.mark.parametrize("case", CASES, ids=title)
every_operation = pytest.mark.parametrize(("subject", "name"), OPERATIONS)


@every_case
def test_a_row_knows_neither_which_others_there_are_nor_where_it_stands(case: Case) -> None:
    inputs, few = case.inputs(7), case.inputs(3)
    whole = case.run(inputs)
    for name, column in few.items():
        assert torch.equal(inputs[name][:3], column)
    assert_same(case.run(few), rows_at(whole, slice(3)))
    for chosen in ([0], [1], [2], [3], [4], [3, 0, 6, 4, 2, 5, 1]):
        assert_same(case.run(rows_at(inputs, chosen)), rows_at(whole, chosen))


@every_operation
def test_the_answer_is_the_same_among_strangers(subject: str, name: str) -> None:
    operation = model_of(subject).operations()[name]
    params = [operation.default_params, *operation.examples, operation.default_params]
    for order in (params, params[::-1]):
        cases = [Case(subject, name, each) for each in order]
        requests = [(case.inputs(1 + i % 3, seed=i), case.params) for i, case in enumerate(cases)]
        results = in_company(operation, requests)
        for case, (inputs, _), result in zip(cases, requests, results, strict=True):
            assert_same(result, case.run(inputs))


@pytest.mark.parametrize("case", [c for c in CASES if c.operation.takes_label], ids=title)
def test_a_request_without_a_label_fits_into_the_same_table(case: Case) -> None:
    inputs = case.inputs()
    free = {name: column for name, column in inputs.items() if name != "label"}
    labelled = {**inputs, "label": torch.full((5,), -1)}
    init, params = case.operation.init, case.params
    assert init(free, params).keys() == init(labelled, params).keys()
    assert_same(case.run(free), case.run(labelled))


@every_operation
def test_results_are_what_was_declared(subject: str, name: str) -> None:
    for case in cases_of(subject, name):
        _check_declared(case)


def _check_declared(case: Case) -> None:
    num = 4
    result, kind = case.run(case.inputs(num)), case.operation.kind(case.params)
    assert set(result) == set(case.operation.outputs)
    for name, declared in case.operation.outputs.items():
        column = result[name]
        assert column.shape == (num, *declared.shape)
        assert column.dtype == declared.dtype
        assert not column.requires_grad
        if name == "standard_error" and _knows_no_error(case):
            assert bool(column.isnan().all())
        else:
            assert bool(column.isfinite().all())
    if "log_prob" in result:
        assert kind is not None
    if kind is not None:
        assert {"log_prob", "energy"} & set(result)
    if kind is Likelihood.EXACT and "standard_error" in result:
        assert not bool(result["standard_error"].any())


def _knows_no_error(case: Case) -> bool:
    """Whether NaN is what an honest standard_error is: of no estimate, or of a single sample."""
    kind = case.operation.kind(case.params)
    alone = asdict(case.params).get("num_samples") == 1
    return kind is Likelihood.UNNORMALISED or (kind is Likelihood.BOUND and alone)


@pytest.mark.parametrize(
    ("subject", "name"),
    [(s, name) for s, name in OPERATIONS if "x" in model_of(s).operations()[name].outputs],
)
def test_what_is_drawn_or_decoded_is_an_event(subject: str, name: str) -> None:
    for case in cases_of(subject, name):
        _check_events(case)


def _check_events(case: Case) -> None:
    grid, x = case.model.grid, case.run(case.inputs(7))["x"]
    if isinstance(case.operation, DiffusionSample) or _values(case) == "mean":
        assert grid is not None
        assert 0 <= float(x.min()) <= float(x.max()) <= grid.top
    elif grid is not None:
        assert torch.equal(grid.values(grid.levels(x)), x)
    elif len(case.model.event_shape) == 3:
        assert 0 <= float(x.min()) <= float(x.max()) <= 1


def _values(case: Case) -> str:
    """What of its distributions a decoder gives: expected values lie between the levels."""
    return str(getattr(case.params, "values", ""))


@pytest.mark.parametrize("case", [c for c in CASES if c.operation.shares_seed], ids=title)
def test_an_event_has_its_number_wherever_it_stands(case: Case) -> None:
    inputs, order = case.inputs(3), torch.tensor([1, 0, 1, 2, 1])
    moved = {**rows_at(inputs, order), "seed": inputs["seed"][:1].expand(5)}
    assert_same(case.run(moved), rows_at(case.run(inputs), order))


@pytest.mark.parametrize("case", [c for c in CASES if c.operation.stops_early], ids=title)
def test_rows_that_are_done_stay_as_they_are(case: Case) -> None:
    operation = case.operation
    with torch.no_grad():
        rows = operation.init(case.inputs(), case.params)
        assert rows["done"].dtype == torch.bool
        for _ in range(operation.num_steps(case.params)):
            if bool(rows["done"].all()):
                break
            rows = operation.step(rows)
        done = rows["done"]
        before = rows_at(operation.finish(rows), done)
        after = operation.step(rows)
        assert bool(after["done"][done].all())
        assert_same(rows_at(operation.finish(after), done), before, atol=0)


@every_case
def test_a_run_changes_nothing_that_it_finds_and_asks_no_generator(case: Case) -> None:
    inputs, weights = case.inputs(), dict(case.model.state_dict())
    asked, trained = _copied(inputs), _copied(weights)
    torch.manual_seed(1)
    ours, theirs = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    first = case.run(inputs)
    assert torch.equal(torch.get_rng_state(), ours)
    assert np.array_equal(np.random.get_state()[1], theirs)  # type: ignore[index]
    torch.manual_seed(2)
    assert_same(case.run(inputs), first, atol=0)
    with torch.no_grad():
        rows = case.operation.init(inputs, case.params)
        begun = _copied(rows)
        case.operation.finish(case.operation.step(rows))
    assert_same(rows, begun, atol=0)
    assert_same(inputs, asked, atol=0)
    assert_same(weights, trained, atol=0)


def _copied(rows: Rows) -> Rows:
    return {name: column.clone() for name, column in rows.items()}


def test_params_are_of_the_declared_kind() -> None:
    for case in [case for operation in OPERATIONS for case in cases_of(*operation)]:
        assert isinstance(case.params, case.operation.Params), case
        assert case.operation.num_steps(case.params) >= 1, case
        assert num_rows(case.inputs()) == 5, case
