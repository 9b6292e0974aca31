"""Families are found by file name, and nothing else can be imported through a bundle."""

from dataclasses import is_dataclass

import pytest
from torch import Tensor

from models.core.contract.families import families, family
from models.core.contract.model import GenerativeModel
from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, concat, num_rows, split
from tests.support.models.cases import model_of
from tests.support.models.tiny import events


def test_every_file_in_models_is_a_family() -> None:
    assert {"ebm", "jem"} <= set(families())
    assert "core" not in families()
    assert not any(name.startswith("_") for name in families())
    assert list(families()) == sorted(families())


@pytest.mark.parametrize("name", ["core", "core.bundle", "", "os", "__init__", "../jem", "JEM"])
def test_only_families_are_imported(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown family .*accepted are .*ebm.*jem"):
        family(name)


@pytest.mark.parametrize("name", families())
def test_a_family_is_a_tiny_config_a_model_and_its_paper(name: str) -> None:
    module = family(name)
    assert module.__name__ == f"models.{name}"
    assert "arXiv:" in (module.__doc__ or "")
    assert is_dataclass(module.Config)
    model = model_of(name)
    assert isinstance(model, module.Model)
    assert isinstance(model, GenerativeModel)
    assert sum(p.numel() for p in model.parameters()) < 50_000, "the defaults are a tiny model"
    assert model.num_dims == events(1, model.event_shape).numel()
    assert model.likelihood.value
    assert len(model.operations()) > 0
    for operation in model.operations().values():
        assert isinstance(operation, Operation)
        assert set(operation.graphs) <= set(model.graphs())
        assert operation.outputs


@pytest.mark.parametrize("name", families())
def test_a_graph_is_dynamic_in_the_batch_and_knows_its_names(name: str) -> None:
    model = model_of(name)
    for title, graph in model.graphs().items():
        assert len(graph.inputs) == len(graph.example)
        for num in (1, 5):
            found = graph.function(*graph.rows(num))
            assert len(found) == len(graph.outputs), title
            assert all(len(tensor) == num for tensor in found)
            assert all(not tensor.requires_grad for tensor in found)


def table_of(num: int, seed: int = 0) -> Tensor:
    """A column of num rows."""
    return events(num, (2,), seed)


def test_tables_join_and_part() -> None:
    a: Rows = {"x": table_of(2), "n": table_of(2)[:, 0]}
    b: Rows = {"x": table_of(3, 1), "n": table_of(3, 1)[:, 0]}
    both = concat([a, b])
    assert num_rows(both) == 5
    assert num_rows({}) == 0
    for table, part in zip((a, b), split(both, [2, 3]), strict=True):
        assert all((table[name] == part[name]).all() for name in table)
