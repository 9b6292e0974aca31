"""Finding, checking and warming bundles, and the choice of their backends."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.core.bundle.bundle import Bundle, load, save
from models.core.bundle.onnx import OnnxFunction
from models.core.bundle.preprocess import Preprocessing
from models.core.contract.operation import run
from service.catalog import row_cost, runtimes
from service.catalog.catalog import Catalog
from service.catalog.loaded import shelve
from service.catalog.loading import load_catalog
from service.engine.messages import Event, Load, Skipped
from service.engine.worker import Worker
from service.errors import UnknownModel, UnsupportedOperation
from tests.support.service.bundles import make_bundle
from tests.support.service.flows import save_flows
from tests.support.service.models import Count, images, inputs, tiny_model
from tests.support.service.screens import make_screen
from training.export import export


def filled(*urls: object, default: str = "jem") -> tuple[Catalog, list[str]]:
    """The catalog that a worker loads, and why it skipped bundles."""
    reports: list[str] = []

    def told(event: Event) -> None:
        assert isinstance(event, Skipped)
        reports.append(event.reason)

    worker = Worker(max_rows_inside=1)
    worker.emit = told
    places = tuple(map(str, urls))
    message = Load(1, places, default, "", "torch", num_threads=1, max_rows=1, max_step_ms=1.0)
    return load_catalog(message, worker), reports


def test_bundles_are_found_below_a_folder_and_by_themselves(bundles: Path) -> None:
    assert list(filled(bundles)[0].models) == ["ebm", "jem", "jem_raw"]
    assert list(filled(bundles / "jem")[0].models) == ["jem"]
    catalog, reports = filled(bundles / "jem", bundles / "ebm", f"file://{bundles}/jem_raw/")
    assert list(catalog.models) == ["jem", "ebm", "jem_raw"]
    assert not reports


def test_what_a_screen_was_calibrated_with_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever runtime was faster on the day; other bundles take the faster."""
    wishes = []

    def choose(_: object, __: object, wish: str, ___: int) -> dict[str, runtimes.Backend]:
        wishes.append(wish)
        return {}

    monkeypatch.setattr("service.catalog.loaded.choose", choose)
    bundle = make_screen("screen_tiny")
    for wish in ("auto", "torch", "onnx"):
        shelve(bundle, wish)
    shelve(make_bundle("jem", "jem", tiny_model("jem")), "auto")
    assert wishes == ["onnx", "torch", "onnx", "auto"]


def test_the_default_is_the_first_one_if_the_wish_is_not_there(bundles: Path) -> None:
    assert filled(bundles)[0].default == "jem"
    assert filled(bundles, default="nobody")[0].default == "ebm"


def test_what_cannot_be_loaded_is_reported_and_left_out(bundles: Path, tmp_path: Path) -> None:
    jem = make_bundle("jem", "jem", tiny_model("jem"))
    save(jem, tmp_path / "again")
    save(replace(jem, name="wrong", preprocessing=Preprocessing(9, 9)), tmp_path / "wrong")
    save(replace(jem, name="alien", family="alien"), tmp_path / "alien")
    save(replace(jem, name="names", class_names=("a",)), tmp_path / "names")
    save(replace(jem, name="blind", preprocessing=None), tmp_path / "blind")
    coarse = Preprocessing(8, 8, levels=2)
    save(replace(jem, name="coarse", preprocessing=coarse), tmp_path / "coarse")
    energy = jem.calibrations["energy"]
    magic = {**jem.calibrations, "magic": replace(energy, scores=energy.scores.clone())}
    save(replace(jem, name="magic", calibrations=magic), tmp_path / "magic")
    (tmp_path / "empty").mkdir()
    catalog, reports = filled(bundles, tmp_path, tmp_path / "empty", tmp_path / "missing")
    assert list(catalog.models) == ["ebm", "jem", "jem_raw"]
    text = "\n".join(reports)
    for part in ("named jem too", "(1, 9, 9)", "'alien'", "1 class names", "no bundle", "missing"):
        assert part in text
    assert "says not how to make them" in text
    assert "leaves 2 grey levels, the model has 256" in text
    assert "unknown scores ['magic']: accepted are energy" in text
    assert len(catalog.failed) == 9


def test_vectors_need_no_preprocessing_but_all_their_names(tmp_path: Path) -> None:
    save_flows(tmp_path)
    catalog, reports = filled(tmp_path)
    assert not reports
    table = catalog.find("table")
    assert table.preprocessing is None
    with pytest.raises(ValueError, match="2 feature names, 5 features"):
        shelve(replace(load(str(tmp_path / "table")), feature_names=("radius", "texture")))


def test_models_and_operations_are_looked_up_by_name(bundles: Path) -> None:
    catalog, _ = filled(bundles)
    model = catalog.find(None)
    assert model.name == "jem"
    assert catalog.find(model.label) is model
    for name in ("nobody", "jem@1", "@"):
        with pytest.raises(UnknownModel, match="jem@"):
            catalog.find(name)
    with pytest.raises(UnsupportedOperation, match="sample, log_likelihood"):
        model.operation("fly")


@pytest.fixture(scope="module")
def exported() -> Bundle:
    """A bundle with one of its two graphs in ONNX."""
    model = tiny_model("jem")
    graphs = {"logits": export(model.graphs()["logits"], half=False)}
    return replace(make_bundle("jem", "jem", model), graphs=graphs)


@pytest.mark.parametrize("fast", ["torch", "onnx"])
def test_the_wish_decides_the_backend_and_auto_takes_the_faster(
    exported: Bundle, monkeypatch: pytest.MonkeyPatch, fast: str
) -> None:
    others = {"energy_grad": "torch", "features": "torch"}
    for wish in ("torch", "onnx"):
        assert _backend_names(exported, wish) == {"logits": wish, **others}

    def seconds(function: object, _: object) -> float:
        return 1.0 if isinstance(function, OnnxFunction) == (fast == "onnx") else 2.0

    monkeypatch.setattr(runtimes, "seconds_per_call", seconds)
    assert _backend_names(exported, "auto") == {"logits": fast, **others}


def _backend_names(bundle: Bundle, wish: str) -> dict[str, str]:
    return {name: backend.name for name, backend in shelve(bundle, wish).backends.items()}


def test_a_bundle_without_graphs_runs_on_torch_whatever_the_wish() -> None:
    chosen = shelve(make_bundle("jem", "jem", tiny_model("jem")), "onnx").backends
    assert {b.name for b in chosen.values()} == {"torch"}
    assert set(chosen["logits"].milliseconds) == {"torch"}


def test_both_backends_give_the_same_results(exported: Bundle) -> None:
    torch_model, onnx_model = (shelve(exported, wish).model for wish in ("torch", "onnx"))
    x = images(5, torch_model.event_shape)
    columns = inputs(5, x=x, label=torch.tensor([-1, 0, 1, 2, -1]))
    for name in ("energy", "classify", "log_likelihood"):
        a, b = (
            run(model.operations()[name], columns, model.operations()[name].default_params)
            for model in (torch_model, onnx_model)
        )
        for column in a:
            torch.testing.assert_close(a[column], b[column], atol=1e-4, rtol=0, equal_nan=True)


def test_a_graph_that_disagrees_or_is_unknown_is_refused(exported: Bundle) -> None:
    with pytest.raises(ValueError, match="disagree"):
        shelve(replace(exported, weights=tiny_model("jem", seed=5).state_dict()))
    with pytest.raises(ValueError, match="none of the model's"):
        shelve(replace(exported, graphs={"spell": exported.graphs["logits"]}))
    with pytest.raises(ValueError, match="loadable"):
        shelve(replace(exported, graphs={"logits": b"no graph"}))


def test_costly_rows_make_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(0.04 * tick for tick in range(10_000))
    monkeypatch.setattr("service.catalog.row_cost.time.perf_counter", lambda: next(clock))
    served = shelve(make_bundle("jem", "jem", tiny_model("jem")))
    # 40 ms between any two looks at the clock: 5 for each of the 8 rows, with graphs or without.
    assert served.row_ms == pytest.approx(dict.fromkeys(served.operations, 5.0))
    assert served.max_work("sample", 51) == pytest.approx(10.2)


def test_a_step_is_timed_with_rows_that_it_takes() -> None:
    operation = Count()
    assert row_cost.row_ms(operation, inputs(1, x=torch.zeros(1)), operation.examples[0]) > 0
    assert set(operation.batch_sizes) == {1, row_cost.NUM_ROWS}


def test_a_row_that_takes_long_is_timed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(0.3 * tick for tick in range(10))
    monkeypatch.setattr("service.catalog.row_cost.time.perf_counter", lambda: next(clock))
    operation = Count()
    found = row_cost.row_ms(operation, inputs(1, x=torch.zeros(1)), operation.examples[0])
    assert found == pytest.approx(300)
    assert operation.batch_sizes == [1, 1]


def test_one_place_that_cannot_be_opened_does_not_stop_the_others(bundles: Path) -> None:
    # sftp needs a driver that nobody installs with us; the other has no protocol at all
    wrong = ("sftp://somewhere/bundles", "nonsense://bundles", "/no/such/folder", "\0")
    catalog, reports = filled(*wrong, bundles / "jem")
    assert list(catalog.models) == ["jem"]
    assert list(catalog.failed) == list(wrong)
    assert len(reports) == len(wrong)
