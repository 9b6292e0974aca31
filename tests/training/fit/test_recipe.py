"""Recipes are data: settings are reached by name, and every shipped one builds its model."""

from dataclasses import fields, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from models.core.bundle.bundle import halved
from models.core.contract.families import family
from models.core.ood.register import SCORES
from tests.support.training.tiny import small_recipe
from training.data.sources import SOURCES
from training.data.splits import SPLITS, Dataset, Split, load
from training.fit.contrastive import Contrastive
from training.fit.objective import MeanLoss
from training.fit.recipe import Recipe, Report, recipe, recipes

CHANGES: list[tuple[str, str, Any]] = [
    ("seed", "7", 7),
    ("dataset", "fashion-mnist", "fashion-mnist"),
    ("dataset", "/some/folder", "/some/folder"),
    ("invert", "True", True),
    ("ema_decay", "0.99", 0.99),
    ("adam_betas", "(0.5, 0.9)", (0.5, 0.9)),
    ("ood_scores", "('energy',)", ("energy",)),
    ("precision", "bf16-mixed", "bf16-mixed"),
    ("dataset", "2024", "2024"),
]


@pytest.mark.parametrize(("key", "text", "value"), CHANGES)
def test_a_setting_of_the_recipe_is_read_from_text(key: str, text: str, value: Any) -> None:
    before = small_recipe()
    after = before.changed({key: text})
    assert getattr(after, key) == value
    assert before == small_recipe(), "recipes are values"


def test_settings_of_config_and_objective_are_reached_by_their_own_names() -> None:
    changed = small_recipe().changed(
        {"hidden": "24", "step_size": "0.3", "l2": "0.5", "num_langevin": "4", "ais_steps": "7"}
    )
    assert changed.report == Report(ais_steps=7)
    assert (changed.config.hidden, changed.config.step_size) == (24, 0.3)
    assert changed.objective_settings["l2"] == 0.5
    assert changed.objective_settings["num_langevin"] == 4
    assert changed.objective_settings["batch_size"] == 8, "the others stay"
    mean = small_recipe(objective=MeanLoss, objective_settings={}).changed(
        {"num_steps": "5", "num_updates": "7"}
    )
    assert mean.config.num_steps == 5
    assert mean.objective_settings == {"num_updates": 7}


def test_no_name_means_two_things() -> None:
    """Or one of them could not be reached."""
    one = small_recipe()
    of_recipe = {field.name for field in fields(Recipe)}
    of_config = {field.name for field in fields(one.config)}
    of_report = {field.name for field in fields(Report)}
    of_objective = set(Contrastive.__init__.__kwdefaults__ or {})
    for names, others in combinations((of_recipe, of_config, of_report, of_objective), 2):
        assert not names & others


@pytest.mark.parametrize("key", ["nonsense", "", "family", "config", "objective", "Seed"])
def test_an_unknown_setting_is_refused_with_those_that_are_known(key: str) -> None:
    with pytest.raises(ValueError, match="unknown setting") as caught:
        small_recipe().changed({key: "1"})
    accepted = str(caught.value).partition("accepted are ")[2].split(", ")
    assert {"seed", "hidden", "l2", "ood_sets"} <= set(accepted)
    assert accepted == sorted(set(accepted))


def test_what_is_said_to_be_accepted_is() -> None:
    """No value suits all kinds: what is refused is refused for its value, not for its name."""
    with pytest.raises(ValueError, match="unknown setting") as caught:
        small_recipe().changed({"nonsense": "1"})
    for key in str(caught.value).partition("accepted are ")[2].split(", "):
        assert refusal(key, "()") in (None, key)


def refusal(key: str, text: str) -> str | None:
    """Which setting refuses the text, as the message says it."""
    try:
        small_recipe().changed({key: text})
    except ValueError as error:
        return str(error).partition("=")[0]
    return None


@pytest.mark.parametrize(
    ("key", "text"), [("seed", "abc"), ("hidden", "wide"), ("l2", "much"), ("height", "28.5")]
)
def test_a_value_of_the_wrong_kind_is_refused(key: str, text: str) -> None:
    with pytest.raises(ValueError, match=key):
        small_recipe().changed({key: text})


def data_of(num_classes: int, *shape: int) -> Dataset:
    """A set of that many classes, two events a split."""
    names = tuple(f"class {i}" for i in range(num_classes))
    x = np.zeros((2, *shape), np.uint8 if len(shape) == 3 else np.float32)
    split = Split(x, np.zeros(2, np.int64))
    return Dataset("none", names, dict.fromkeys(SPLITS, split), "nowhere", "none")


def test_shapes_and_classes_come_from_the_data() -> None:
    config = small_recipe("jem", height=9, width=7, num_channels=3).config_for(data_of(5, 3, 9, 7))
    assert config.event_shape == (3, 9, 7)
    assert config.num_classes == 5
    assert config.hidden == small_recipe("jem").config.hidden
    plain = small_recipe("ebm").config_for(data_of(5, 3, 9, 7))
    assert not hasattr(plain, "num_classes")


def test_recipes_are_named_after_family_and_data_set() -> None:
    assert {"jem_fashion-mnist", "jem_fraktur-glyphs", "ebm_mnist"} <= set(recipes())
    with pytest.raises(ValueError, match=r"unknown recipe 'no'.*accepted are .*ebm_mnist"):
        recipe("no")


@pytest.mark.parametrize("name", recipes())
def test_every_shipped_recipe_is_sound(name: str) -> None:
    found = recipe(name)
    assert name.startswith(f"{found.family}_")
    assert set(found.ood_scores) <= set(SCORES)
    assert set(found.ood_sets) <= set(SOURCES)
    assert found.dataset in SOURCES or name.endswith("_folder")
    assert found.dataset not in found.ood_sets
    if not found.num_channels:  # the form is the folder's
        found = replace(found, height=28, width=28, num_channels=1)
    shape = (found.num_channels, found.height, found.width)
    if not found.height:
        shape = load(found.dataset).splits["train"].x.shape[1:]
    model = family(found.family).Model(found.config_for(data_of(10, *shape)))
    assert model.event_shape == shape
    assert bool(model.loss(torch.rand(2, *shape), torch.zeros(2).long()).isfinite().all())
    for operation in model.operations().values():
        TypeAdapter(operation.Params).validate_python(vars(operation.default_params))
    assert set(found.graphs or ()) <= set(model.graphs())
    num_bytes = sum(w.numel() * w.element_size() for w in halved(model.state_dict()).values())
    assert num_bytes < 4e6, "a bundle that ships is small"
    known = set(found.objective.__init__.__kwdefaults__ or {})
    assert set(found.objective_settings) <= known
    unchanged = found.changed({})
    assert unchanged == found
