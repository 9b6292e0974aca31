"""What every operation of every family promises, whatever it computes."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.core.bundle import Bundle, half_rounded, halved, load, save
from models.core.families import families
from models.core.families import family as family_module
from models.core.likelihood import Likelihood
from models.core.noise import row_seeds
from models.core.operation import concat, num_rows, run
from models.core.preprocess import Preprocessing
from tests.models.cases import CASES, Case, assert_same, in_company, model_of, rows_at, title
from tests.models.tiny import events, random_model

every_case = pytest.mark.parametrize("case", CASES, ids=title)
every_family = pytest.mark.parametrize("family", families())


@every_case
def test_together_is_apart(case: Case) -> None:
    inputs = case.inputs()
    together = case.run(inputs)
    apart = [case.run(rows_at(inputs, slice(i, i + 1))) for i in range(5)]
    assert_same(together, concat(apart))


@every_case
def test_order_does_not_matter(case: Case) -> None:
    inputs, order = case.inputs(), torch.tensor([3, 0, 4, 2, 1])
    assert_same(case.run(rows_at(inputs, order)), rows_at(case.run(inputs), order))


@every_case
def test_sample_i_does_not_depend_on_how_many_are_asked_for(case: Case) -> None:
    few, many = case.inputs(3), case.inputs(7)
    for name, column in few.items():
        assert torch.equal(many[name][:3], column)
    assert_same(case.run(few), rows_at(case.run(many), slice(3)))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(
    ("family", "name"), [(f, name) for f in families() for name in model_of(f).operations()]
)
def test_the_answer_is_the_same_among_strangers(family: str, name: str, backwards: bool) -> None:
    operation = model_of(family).operations()[name]
    params = [operation.default_params, *operation.examples, operation.default_params]
    cases = [Case(family, name, p) for p in (params[::-1] if backwards else params)]
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


@every_case
def test_results_are_what_was_declared(case: Case) -> None:
    model, num = case.model, 4
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("log_prob", "standard_error", "energy"), ()),
        **dict.fromkeys(("energies", "probabilities", "logits"), (model.num_classes,)),
        "x": model.event_shape,
    }
    result = case.run(case.inputs(num))
    assert set(case.operation.outputs) <= set(result)
    assert set(result) <= set(shapes), "say here what shape a new column has"
    for name, column in result.items():
        assert column.shape == (num, *shapes[name])
        assert column.dtype == torch.float32
        assert not column.requires_grad
        no_error = name == "standard_error" and (
            case.operation.kind(case.params) is Likelihood.UNNORMALISED
        )
        assert bool(column.isnan().all() if no_error else column.isfinite().all())
    if "x" in result:
        assert 0 <= float(result["x"].min()) <= float(result["x"].max()) <= 1
    assert ("log_prob" in result) == (case.operation.kind(case.params) is not None)


@every_case
def test_no_generator_is_touched_and_none_is_asked(case: Case) -> None:
    inputs = case.inputs()
    torch.manual_seed(1)
    ours, theirs = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    first = case.run(inputs)
    assert torch.equal(torch.get_rng_state(), ours)
    assert np.array_equal(np.random.get_state()[1], theirs)  # type: ignore[index]
    torch.manual_seed(2)
    assert_same(case.run(inputs), first, atol=0)


@every_case
def test_a_step_leaves_what_it_was_given_as_it_was(case: Case) -> None:
    inputs = case.inputs()
    weights = {name: w.clone() for name, w in case.model.state_dict().items()}
    with torch.no_grad():
        rows = case.operation.init(inputs, case.params)
        for table in (inputs, rows):
            before = {name: column.clone() for name, column in table.items()}
            case.operation.finish(case.operation.step(rows))
            assert_same(table, before, atol=0)
    assert_same(dict(case.model.state_dict()), weights, atol=0)


@every_case
def test_params_are_of_the_declared_kind(case: Case) -> None:
    assert isinstance(case.params, case.operation.Params)
    assert case.operation.num_steps(case.params) >= 1
    assert num_rows(case.inputs()) == 5


@every_family
def test_save_and_load_change_nothing(family: str, tmp_path: Path) -> None:
    model, module = random_model(family), family_module(family)
    half_rounded(model)
    bundle = Bundle(
        name="tiny",
        family=family,
        config=asdict(module.Config()),
        weights=halved(model.state_dict()),
        preprocessing=Preprocessing(8, 8),
    )
    loaded = load(save(bundle, tmp_path / "tiny")).build()
    assert not loaded.training
    for name, operation in model.operations().items():
        for params in operation.examples:
            inputs = Case(family, name, params).inputs()
            with torch.no_grad():
                expected = run(operation, inputs, params)
                assert_same(run(loaded.operations()[name], inputs, params), expected, atol=0)


@every_family
def test_the_loss_is_a_number_a_row_and_reaches_every_parameter(family: str) -> None:
    model = random_model(family).requires_grad_(True)
    x = events(6, model.event_shape)
    labels: list[Tensor | None] = [None]
    if model.num_classes:
        labels.append(torch.arange(6) % model.num_classes)
    for y in labels:
        model.zero_grad()
        loss = model.loss(x, y)
        assert loss.shape == (6,)
        assert bool(loss.isfinite().all())
        loss.sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert bool(parameter.grad.isfinite().all()), name
            assert parameter.ndim < 2 or bool(parameter.grad.any()), name


@pytest.mark.parametrize(
    "family", [f for f in families() if {"energy", "classify"} <= set(model_of(f).operations())]
)
def test_energies_and_probabilities_agree_with_the_logits(family: str) -> None:
    model = model_of(family)
    operations, num = model.operations(), model.num_classes
    x, seed = events(num, model.event_shape), row_seeds(0, num)
    label = torch.arange(num)
    with torch.no_grad():
        seen = run(operations["classify"], {"seed": seed, "x": x}, operations["classify"].Params())
        joint, free = (
            run(
                operations["energy"],
                {"seed": seed, "x": x, "label": asked},
                operations["energy"].Params(),
            )
            for asked in (label, torch.full_like(label, -1))
        )
    logits = seen["logits"]
    torch.testing.assert_close(joint["energy"], -logits[label, label])
    torch.testing.assert_close(joint["energies"], -logits)
    torch.testing.assert_close(free["energy"], seen["energy"])
    torch.testing.assert_close(seen["energy"], -logits.logsumexp(1))
    torch.testing.assert_close(seen["probabilities"], logits.softmax(1))
