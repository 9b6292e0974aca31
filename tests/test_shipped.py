"""The bundles that ship: small, whole, and as good as their cards say, through the service."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
import torch
from scipy.stats import binom

from models.core.bundle import bundle
from models.core.bundle.onnx import OnnxFunction
from models.core.contract.operation import run
from service.app import create_app
from service.settings import Settings
from tests.support.shipped import shipped_paths

ROOT = Path(__file__).parents[1]
BUNDLES = shipped_paths()
SAMPLE = ROOT / "tests" / "data" / "fashion-mnist_test_1000.npz"
ALPHA = 0.05

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The service with the shipped bundles, as `make serve` starts it."""
    app = create_app(Settings(bundles=tuple(map(str, BUNDLES)), log_level="error"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            while (await client.get("/health/ready")).status_code != 200:
                # A busy loop would hold Python's lock against the thread that loads the bundles.
                await anyio.sleep(0.05)
            yield client


def npy(x: np.ndarray) -> bytes:
    """The array as an upload."""
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


def test_the_promised_bundles_ship() -> None:
    assert all((path / "bundle.json").is_file() for path in BUNDLES)
    assert {"jem_fashion-mnist", "jem_fraktur-glyphs", "ebm_mnist"} <= {p.name for p in BUNDLES}


def test_bundles_are_small() -> None:
    """Weights alone for the three that are older than the rule for whole bundles; a screen is
    several models."""
    for path in BUNDLES:
        files = [path / "weights.safetensors"]
        if not path.name.startswith(("ebm_", "jem_")):
            files = [file for file in path.rglob("*") if file.is_file()]
        most = 8_000_000 if path.name.startswith("screen_") else 4 * 2**20
        assert sum(file.stat().st_size for file in files) <= most, path.name


@pytest.mark.parametrize("path", BUNDLES, ids=lambda p: p.name)
def test_graphs_equal_torch_on_tail_inputs(path: Path) -> None:
    loaded = bundle.load(path)
    torch.manual_seed(0)
    graphs = loaded.build().graphs()
    for name in loaded.graphs:
        graph = graphs[name]
        x = graph.rows(6)[0]
        # Latents of 60 decode to numbers that no float32 holds.
        far = 60 if graph.inputs[0] == "x" else 4
        x = torch.stack([x[0] * 0, x[0] * 0 + 1, torch.rand_like(x[0]), -far + x[0], far + x[0]])
        inputs = (x, *(t for t in graph.rows(5)[1:]))
        exported = OnnxFunction(loaded.graphs[name], 1)
        for ours, theirs in zip(graph.function(*inputs), exported(*inputs), strict=True):
            scale = ours.abs().amax().clamp(min=1e-3)
            assert torch.allclose(ours / scale, theirs / scale, atol=2e-5)


@pytest.mark.parametrize(
    "path", [p for p in BUNDLES if (p.name.startswith(("ebm_", "jem_")))], ids=lambda p: p.name
)
def test_calibration_scores_look_like_served_ones(path: Path) -> None:
    """A calibration of other weights would show as scores from another range."""
    loaded = bundle.load(path)
    model = loaded.build()
    chains = model.get_buffer("chains")[:50].float() / 255
    operation = model.operations()["energy"]
    energy = run(operation, {"seed": torch.zeros(len(chains)).long(), "x": chains}, None)["energy"]
    scores = loaded.calibrations["energy"].scores
    spread = float(scores[-1] - scores[0])
    assert float((energy.median() - scores.median()).abs()) < spread


async def test_false_alarms_are_as_rare_as_promised(client: httpx.AsyncClient) -> None:
    x = np.load(SAMPLE)["x"]
    answer = await client.post(
        f"/ood_score?alpha={ALPHA}",
        content=npy(x),
        headers={"content-type": "application/x-npy"},
    )
    assert answer.status_code == 200, answer.text
    alarms = sum(result["is_ood"] for result in answer.json()["results"])
    low, high = binom.interval(0.99, len(x), ALPHA)
    assert low <= alarms <= high


async def test_classes_are_as_right_as_the_card_says(client: httpx.AsyncClient) -> None:
    sample = np.load(SAMPLE)
    answer = await client.post(
        "/classify", content=npy(sample["x"]), headers={"content-type": "application/x-npy"}
    )
    labels = np.array([result["label_index"] for result in answer.json()["results"]])
    stated = bundle.load(ROOT / "bundles" / "jem_fashion-mnist").metrics["test_accuracy"]
    # Three standard errors of a mean over 1,000 images at this accuracy are about 0.03.
    assert abs((labels == sample["y"]).mean() - stated) < 0.03


async def test_a_seed_gives_the_same_samples(client: httpx.AsyncClient) -> None:
    body = {"num_samples": 2, "seed": 5, "label": "Trouser", "format": "arrays"}
    first = (await client.post("/sample", json=body)).json()["samples"]
    again = (await client.post("/sample", json={**body, "num_samples": 4})).json()["samples"]
    assert np.allclose(first, again[:2], atol=1e-4)


async def test_bits_per_dim_are_an_estimate_with_an_error(client: httpx.AsyncClient) -> None:
    x = np.load(SAMPLE)["x"][:3]
    answer = await client.post(
        "/log_likelihood",
        json={"instances": (x / 255).tolist(), "params": {"estimator": "ais"}},
    )
    for result in answer.json()["results"]:
        assert result["kind"] == "estimate"
        assert result["standard_error"] > 0
        assert result["bits_per_dim"] > 0
