"""PixelVAE's exported graphs: the numbers of torch, also in the tails, and the same samples."""

from functools import cache

import pytest
import torch

from models.core.bundle.onnx import OnnxFunction
from models.core.contract.noise import row_seeds
from models.core.contract.operation import run
from models.core.contract.rows import Rows
from models.core.latent.pixel_programs import PixelReconstructParams
from models.pixelvae import Model
from tests.support.models.pixelvaes import pixelvae
from tests.support.models.tiny import events_of, latents_of
from training.export import export

pytestmark = pytest.mark.slow


@cache
def exported(graph: str) -> tuple[Model, OnnxFunction]:
    """A tiny model with four grey levels, and one of its graphs as ONNX Runtime runs it."""
    model = pixelvae(
        event_shape=(1, 4, 5),
        num_levels=4,
        output="categorical",
        num_layers=1,
        encoder="conv",
        coordinates=True,
    ).float()
    model.net.out.weight.mul_(4)  # tails are where graphs go wrong
    return model, OnnxFunction(export(model.graphs()[graph], half=False), num_threads=1)


@pytest.mark.parametrize("num", [1, 3, 33])
def test_numbers_are_those_of_torch_also_far_from_the_prior(num: int) -> None:
    model, log_prob_given = exported("log_prob_given")
    x, z = events_of(model, num), 6 * latents_of(model, num)
    x[-1], x[0] = 1, 0
    (expected,), (found,) = model.compute("log_prob_given", x, z), log_prob_given(x, z)
    assert bool(found.isfinite().all())
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-5)
    exact = model.double().log_prob_given(x.double(), z.double())
    model.float()
    torch.testing.assert_close(found.double(), exact, atol=2e-3, rtol=1e-5)
    assert num == 1 or float(found.std()) > 1


def test_an_image_is_reconstructed_the_same_with_every_graph_exported() -> None:
    model, _ = exported("log_prob_given")
    inputs: Rows = {"seed": row_seeds(0, 6), "x": events_of(model, 6)}
    operation, params = model.operations()["reconstruct"], PixelReconstructParams(9.0, "noise")
    expected = run(operation, inputs, params)["x"]
    assert set(operation.graphs) == set(model.graphs()) - {"log_prob_given"}
    for graph in operation.graphs:
        model.use(graph, exported(graph)[1])
    try:
        found = run(operation, inputs, params)["x"]
    finally:
        for graph in operation.graphs:
            model.use(graph, None)
    assert torch.equal(found, expected)
    assert len(found.flatten(1).unique(dim=0)) == 6
