"""What every model of every family promises beside its operations, whatever it is about."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle, half_rounded, halved, load, save
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.families import family as family_module
from models.core.contract.noise import row_seeds
from models.core.contract.operation import Operation, run
from models.core.derived.around import Around
from models.core.derived.log_likelihood import EnergyOf
from tests.support.models.cases import SUBJECTS, Case, assert_same, model_of
from tests.support.models.tiny import events_of, random_model

every_subject = pytest.mark.parametrize("subject", SUBJECTS)


def _energy(subject: str) -> Operation[Any]:
    return model_of(subject).operations()["energy"]


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if _energy(s).kind(_energy(s).Params())])
def test_energy_is_minus_the_log_likelihood(subject: str) -> None:
    for params in _energy(subject).examples:
        likelihood, energy = (Case(subject, n, params) for n in ("log_likelihood", "energy"))
        for asked in ("kind", "num_steps"):
            expected = getattr(likelihood.operation, asked)(params)
            assert getattr(energy.operation, asked)(params) == expected
        inputs = likelihood.inputs()
        column, others = energy.run(inputs), likelihood.run(inputs)
        assert torch.equal(column.pop("energy"), -others.pop("log_prob"))
        if isinstance(energy.operation, EnergyOf):
            assert_same(column, others, atol=0)
            declared = dict(likelihood.operation.outputs)
            assert energy.operation.outputs == {"energy": declared.pop("log_prob"), **declared}
            assert energy.operation.default_params == likelihood.operation.default_params
            for told in ("Params", "graphs", "takes_label", "shares_seed", "stops_early"):
                assert getattr(energy.operation, told) == getattr(likelihood.operation, told)


def _is_invertible(subject: str) -> bool:
    """Whether z holds all of x: those that offer to reconstruct have a decoder that guesses."""
    names = set(model_of(subject).operations())
    return {"encode", "decode"} <= names and "reconstruct" not in names


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if _is_invertible(s)])
def test_decoding_what_was_encoded_gives_the_event_back(subject: str) -> None:
    operations = model_of(subject).operations()
    default = operations["encode"].default_params
    for encoding in (default, *operations["encode"].examples):
        encode = Case(subject, "encode", encoding)
        inputs = encode.inputs(9)
        z = encode.run(inputs)["z"]
        for decoding in operations["decode"].examples:
            x = Case(subject, "decode", decoding).run({**inputs, "z": z})["x"]
            same = (x - inputs["x"]).abs() <= 1e-3 * inputs["x"].abs().clamp(min=1)
            # Noise can take a level so near to its neighbour's that rounding crosses over.
            assert float(same.float().mean()) >= (1 if encoding == default else 0.98)


@every_subject
def test_save_and_load_change_nothing(subject: str, tmp_path: Path) -> None:
    family, config = SUBJECTS[subject]
    model, module = random_model(family, **config), family_module(family)
    half_rounded(model)
    bundle = Bundle(
        name="tiny",
        family=family,
        config=asdict(module.Config(**config)),
        weights=halved(model.state_dict()),
        preprocessing=Preprocessing(8, 8),
    )
    loaded = load(save(bundle, tmp_path / "tiny")).build()
    assert not loaded.training
    for name, operation in model.operations().items():
        if isinstance(operation, Around):
            continue  # no more than the program inside, which is among them
        for params in operation.examples:
            inputs = Case(subject, name, params).inputs()
            with torch.no_grad():
                expected = run(operation, inputs, params)
                assert_same(run(loaded.operations()[name], inputs, params), expected, atol=0)


@every_subject
def test_the_loss_is_a_number_a_row_and_reaches_every_parameter(subject: str) -> None:
    family, config = SUBJECTS[subject]
    model = random_model(family, **config).requires_grad_(True)
    x = events_of(model, 6)
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
    "subject", [s for s in SUBJECTS if {"energy", "classify"} <= set(model_of(s).operations())]
)
def test_energies_and_probabilities_agree_with_the_logits(subject: str) -> None:
    model = model_of(subject)
    operations, num = model.operations(), model.num_classes
    x, seed = events_of(model, num), row_seeds(0, num)
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
