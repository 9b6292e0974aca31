"""The family of planar, Sylvester and generalised flows: densities, directions, graphs, configs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.core.bundle.bundle import load
from models.core.bundle.onnx import OnnxFunction
from models.core.contract.likelihood import Likelihood
from models.core.contract.noise import normal, row_seeds
from models.core.contract.operation import run
from models.core.distributions.normal import standard_normal_log_prob
from models.core.distributions.targets import TARGETS
from models.core.flow.programs import FlowSampleParams
from models.core.transforms.actnorm import ActNorm
from models.core.transforms.autoregressive import Inverse
from models.core.transforms.transform import Chain, Flatten
from models.sylvester import Config, Model
from tests.support.models.invertible import assert_invertible, draws, seeded, wild
from tests.support.shipped import shipped_paths
from training.export import export

BUNDLES = shipped_paths("sylvester_")
CONVOLUTIONS: dict[str, Any] = {
    "kind": "convolution_exponential",
    "event_shape": (1, 4, 4),
    "num_levels": 4,
}
FORMS: dict[str, dict[str, Any]] = {
    "planar": {"kind": "planar", "event_shape": (3,)},
    "sylvester": {"event_shape": (3,)},
    "wide": {"event_shape": (4,), "num_units": 4, "num_reflections": 3},
    "pixels": {"event_shape": (1, 1, 3), "num_levels": 4},
    "convolutions": CONVOLUTIONS,
}
every_form = pytest.mark.parametrize("form", FORMS)


def made(spread: float = 0.3, **config: Any) -> Model:
    """With random weights, in float64."""
    with seeded():
        model = Model(Config(**config))
    wild(model, spread)
    return model.eval()


@every_form
def test_whole_flows_are_invertible(form: str) -> None:
    model = made(**FORMS[form])
    x = draws(3, model.event_shape)
    x = x.sigmoid() if model.grid else x
    assert_invertible(model.flow, x, 1e-6)


@pytest.mark.parametrize("kind", ["planar", "sylvester"])
def test_the_density_of_a_pair_integrates_to_one(kind: Any) -> None:
    model = made(0.2, kind=kind)
    ticks = torch.linspace(-15, 15, 501, dtype=torch.float64)
    density = model.log_prob(torch.cartesian_prod(ticks, ticks)).exp()
    assert float(density.sum()) * (30 / 500) ** 2 == pytest.approx(1, abs=1e-3)
    assert model.likelihood is Likelihood.EXACT


@pytest.mark.parametrize("kind", ["planar", "sylvester"])
def test_a_sample_is_one_pass_forwards(kind: Any) -> None:
    """Through scale and shift, the blocks in their order, scale and shift; nothing is solved."""
    model = made(kind=kind).float()
    seed = row_seeds(0, 5)
    x = run(model.operations()["sample"], {"seed": seed}, FlowSampleParams())["x"]
    z = normal(seed, torch.zeros_like(seed), (2,))
    h, total = z, standard_normal_log_prob(z)
    transform = model.flow.parts[1]
    assert isinstance(transform, Chain)
    flatten, outer, middle, inner = transform.parts
    for part in (inner, middle, outer):
        if isinstance(part, ActNorm):
            h = h * (-part.log_scale).exp() + part.mean
            total = total + part.log_scale.sum()
        else:
            assert isinstance(part, Inverse)
            h, log_abs_det = part.inner(h)
            total = total - log_abs_det
    assert isinstance(flatten, Flatten)
    torch.testing.assert_close(x, h)
    operation = model.operations()["log_likelihood"]
    found = run(operation, {"seed": seed, "x": x}, operation.default_params)
    torch.testing.assert_close(found["log_prob"], total, atol=1e-4, rtol=0)
    assert not bool(found["standard_error"].any())


def test_data_set_the_scale_next_to_them() -> None:
    model = made(kind="planar")
    x = 3 * draws(400, (2,)) + 7
    model.initialise(x)
    h, _ = model.flow.parts[0](x)
    assert float(h.mean(0).abs().max()) < 1e-6
    z, _ = model.flow(x)
    assert float(z.mean(0).abs().max()) < 1e-6
    assert float((z.std(0) - 1).abs().max()) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "graph"),
    [("planar", "log_prob"), ("sylvester", "decode"), ("convolutions", "decode")],
)
def test_graphs_are_those_of_torch(form: str, graph: str) -> None:
    model = made(**{"num_blocks": 1, **FORMS[form]}).float()
    function = model.graphs()[graph]
    exported = OnnxFunction(export(function, half=False), num_threads=1)
    for num in (1, 3):
        tensors = tuple(2 * draws(num, t.shape[1:]).float() for t in function.example)
        for ours, theirs in zip(function.function(*tensors), exported(*tensors), strict=True):
            torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_shipped_flows_come_back_to_where_they_were(path: Path) -> None:
    """In float32, from a draw of the target, of the flow and of noise, far out too: both ways."""
    model = load(path).build()
    assert isinstance(model, Model)
    z = 1.5 * draws(2000, (2,)).float()
    x = TARGETS[path.name.partition("_")[2]].draw(2000)
    for start in (x, model.decode(z)):
        back = model.decode(model.flow(start)[0])
        assert float((back - start).abs().max()) <= 1e-5
    back = model.flow(model.decode(z))[0]
    assert float((back - z).abs().quantile(0.99)) <= 1e-5


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_shipped_flows_are_as_near_to_their_targets_as_the_cards_say(path: Path) -> None:
    """KL(flow || target) by quadrature, where the card has a mean over samples."""
    bundle = load(path)
    model, target, num = bundle.build(), TARGETS[path.name.partition("_")[2]], 300
    assert isinstance(model, Model)
    grid = target.cell_centres(num)
    log_q = model.log_prob(grid.float()).double()
    gap = log_q - target.log_prob(grid) + target.log_z()
    found = float((log_q.exp() * gap).sum() * torch.tensor(target.log_cell(num)).exp())
    metrics = bundle.metrics
    error = metrics["reverse_kl_nats_standard_error"]
    assert found == pytest.approx(metrics["reverse_kl_nats"], abs=4 * error + 1e-3)
    assert metrics["mass_in_the_box"] == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"kind": "radial"}, "planar, sylvester"),
        ({"num_blocks": 0}, "num_blocks"),
        ({"num_units": 3}, "num_units"),
        ({"num_units": 0}, "num_units"),
        ({"num_reflections": 0}, "num_reflections"),
        ({"kind": "convolution_exponential"}, "even sides"),
        ({**CONVOLUTIONS, "event_shape": (1, 3, 4)}, "even sides"),
        ({**CONVOLUTIONS, "max_norm": 0.0}, "max_norm"),
        ({**CONVOLUTIONS, "max_norm": 9.0, "num_terms": 3}, "max_norm"),
    ],
)
def test_configs_that_make_no_sense_are_refused(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        made(**config)
