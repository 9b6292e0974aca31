"""A screen of tiny models: what it adds up, that company changes no bit, that it is kept whole."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.core.bundle.bundle import BundleError, halved, load, save
from models.core.bundle.onnx import OnnxFunction
from models.core.contract.operation import NoParams, run
from models.core.contract.rows import concat, split
from models.core.ood.register import SCORES
from models.core.ood.zvalues import fisher
from models.core.screen.config import Component, Config
from models.core.screen.model import Screen
from tests.support.models.screens import as_bundle, pictures, tiny_screen, untrained
from training.export import export


@pytest.fixture(scope="module")
def screen() -> Screen:
    """A tiny screen, fitted to random images."""
    return tiny_screen()


def columns(screen: Screen, x: Tensor) -> dict[str, Tensor]:
    """The result of the operation."""
    with torch.no_grad():
        return run(screen.operations()["screen"], {"x": x}, NoParams())


def test_components_are_the_scores_of_the_parts_alone(screen: Screen) -> None:
    x = pictures(9, seed=5)
    found = columns(screen, x)
    start = 0
    for i, component in enumerate(screen.components):
        score = SCORES[component.score]
        reference = screen.references[start : start + component.num_references]
        start += component.num_references
        rows: dict[str, Tensor] = {}
        for prefix, name in (("", component.part), ("background_", component.background)):
            if name:
                operation = screen.part(name).operations()[score.operation]
                seed = torch.zeros(9, dtype=torch.int64)
                with torch.no_grad():
                    own = run(operation, {"seed": seed, "x": x}, operation.default_params)
                rows |= {f"{prefix}{key}": value for key, value in own.items()}
        expected = score.compute(rows, reference)
        torch.testing.assert_close(found["scores"][:, i], expected.float(), rtol=1e-4, atol=1e-4)
    assert start == len(screen.references)


def test_the_score_is_fisher_s_sum_of_the_z_values(screen: Screen) -> None:
    found = columns(screen, pictures(9, seed=5))
    torch.testing.assert_close(found["score"], fisher(found["z"]).float(), rtol=1e-4, atol=1e-4)
    z = screen.z_values(found["scores"].double())
    torch.testing.assert_close(found["z"], z.float(), rtol=1e-3, atol=1e-3)


def test_z_values_of_the_kind_it_was_fitted_to_are_standard(screen: Screen) -> None:
    z = columns(screen, pictures(200, seed=9))["z"]
    # Codes of so small images have few lengths, and ties err towards strange.
    ties = screen.score_names.index("scale_ratio")
    without = [i for i in range(z.shape[1]) if i != ties]
    assert bool((z[:, without].mean(0).abs() < 0.5).all())
    assert 0 <= float(z[:, ties].mean()) < 0.7
    assert bool((z.std(0) - 1).abs().max() < 0.5)


def test_a_row_is_the_same_bits_in_any_company(screen: Screen) -> None:
    screen.check_runtimes()
    x = pictures(21, seed=3)
    together = columns(screen, x)
    alone = concat([columns(screen, row) for row in x.split(1)])
    mixed = concat([columns(screen, part) for part in x.split([2, 11, 8])])
    for name, values in together.items():
        assert torch.equal(values, alone[name]), name
        assert torch.equal(values, mixed[name]), name


@pytest.mark.parametrize("harmless", [1, 5, 7])
def test_rows_that_see_each_other_are_looked_at_one_by_one(screen: Screen, harmless: int) -> None:
    """A runtime whose last bits depend on the batch, if it is larger than a harmless size."""

    def company(x: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        graph = screen.part("classifier").graphs()["features"].function
        return tuple(out * (1 + 1e-6 * max(0, len(x) - harmless)) for out in graph(x, *more))

    screen.use("classifier.features", company)
    screen.check_runtimes()
    assert screen.chunk == 1
    x = pictures(5, seed=3)
    alone = concat([columns(screen, row) for row in x.split(1)])
    for name, values in columns(screen, x).items():
        assert torch.equal(values, alone[name]), name
    screen.use("classifier.features", None)
    screen.check_runtimes()


def test_each_part_is_looked_at_once(screen: Screen) -> None:
    names = {name: [type(o).__name__ for o in ops] for name, ops in screen.programs.items()}
    assert names["classifier"] == ["Features"]
    assert names["denoiser"] == ["Denoise"]
    assert len(names["position"]) == len(names["local"]) == 1


def test_the_category_is_the_class_that_it_says(screen: Screen) -> None:
    x = pictures(9, seed=5)
    said = run(screen.operations()["classify"], {"x": x}, NoParams())["probabilities"].argmax(1)
    assert torch.equal(columns(screen, x)["category"], said)
    none = replace(screen.config, classifier="")
    assert set(Screen(none).operations()) == {"screen"}


def test_a_graph_in_onnx_is_used_by_the_part(screen: Screen) -> None:
    x = pictures(12, seed=8)
    expected = columns(screen, x)
    assert set(screen.operations()["screen"].graphs) <= set(screen.graphs())
    assert set(screen.graphs()) - set(screen.scoring_graphs) == {"classifier.logits"}
    graph = screen.graphs()["classifier.features"]
    calls = []
    onnx = OnnxFunction(export(graph, half=False), 1)

    def counted(*tensors: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(tensors[0]))
        return onnx(*tensors)

    screen.use("classifier.features", counted)
    found = columns(screen, x)
    screen.use("classifier.features", None)
    assert sum(calls) == 12
    torch.testing.assert_close(found["z"], expected["z"], rtol=1e-2, atol=1e-2)


def test_save_and_load_change_nothing(screen: Screen, tmp_path: Path) -> None:
    weights = halved(screen.state_dict())
    assert weights["knots"].dtype == torch.float64, "statistics keep their precision"
    bundle = as_bundle(screen)
    once = load(save(bundle, tmp_path / "tiny")).build()
    assert isinstance(once, Screen)
    assert once.score_names == screen.score_names
    x = pictures(7, seed=2)
    found = columns(once, x)
    torch.testing.assert_close(found["z"], columns(screen, x)["z"], rtol=0.05, atol=0.05)
    again = load(save(replace(bundle, weights=halved(once.state_dict())), tmp_path / "again"))
    for name, values in columns(Screen(Config(**again.config)).eval(), x).items():
        assert values.shape == found[name].shape
    rebuilt = again.build()
    assert isinstance(rebuilt, Screen)
    for name, values in columns(rebuilt, x).items():
        assert torch.equal(values, found[name]), name


def test_another_kind_of_bundle_is_refused(tmp_path: Path, screen: Screen) -> None:
    bundle = as_bundle(screen)
    path = save(bundle, tmp_path / "tiny") / "bundle.json"
    path.write_text(path.read_text().replace('"kind": "screen"', '"kind": "net"'))
    with pytest.raises(BundleError, match="accepted are model and screen"):
        load(path.parent)


@pytest.mark.parametrize(
    ("component", "says"),
    [
        (Component(score="luck", part="classifier"), "score 'luck': accepted are"),
        (Component(score="screen", part="classifier"), "score 'screen': accepted are"),
        (Component(score="energy", part="nobody"), "part 'nobody': accepted are"),
        (Component(score="score_norms", part="classifier"), "no operation denoise"),
        (Component(score="llr_local", part="position"), "a background is missing"),
        (Component(score="energy", part="classifier", background="local"), "too much"),
    ],
)
def test_components_that_cannot_be_are_refused(component: Component, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Screen(replace(untrained(), components=(component,)))


def test_a_classifier_that_is_no_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part"):
        Screen(replace(untrained(), classifier="nobody"))
    with pytest.raises(ValueError, match="events of"):
        Screen(replace(untrained(), event_shape=(1, 9, 9)))


def test_a_batch_is_split_as_it_was_joined(screen: Screen) -> None:
    operation = screen.operations()["screen"]
    rows = concat([operation.init({"x": pictures(n, seed=n)}, NoParams()) for n in (1, 3, 2)])
    with torch.no_grad():
        parts = split(operation.finish(operation.step(rows)), [1, 3, 2])
    for n, part in zip((1, 3, 2), parts, strict=True):
        for name, values in columns(screen, pictures(n, seed=n)).items():
            assert torch.equal(part[name], values), name
