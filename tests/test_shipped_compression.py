"""Shipped models compress test images over HTTP: no wrong pixel, and fewer bytes than in files."""

import io
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from PIL import Image

from models.core.bundle.bundle import load
from service.app import create_app
from service.media.stream import unpack
from service.settings import Settings
from tests.support.shipped import shipped_paths
from training.data.splits import load_test

ROOT = Path(__file__).parents[1]
NUM_IMAGES = 17
NPY = {"content-type": "application/x-npy"}
STREAM = {"content-type": "application/x-likely", "accept": "application/x-npy"}

pytestmark = pytest.mark.anyio


def _compresses(path: Path) -> bool:
    bundle = load(path)
    quick = path.name.endswith("_digits") or path.name == "made_mnist-binary"
    return quick and "compress" in bundle.build().operations()


PATHS = [path for path in shipped_paths() if _compresses(path)]
"""Models whose codes take a second; those of the others are tested without HTTP."""


@cache
def images(path: Path) -> np.ndarray:
    """Test images as the model takes them. -> uint8 (NUM_IMAGES, C, H, W)."""
    form = load(path).preprocessing
    assert form is not None
    if "mnist" in path.name:
        x = np.load(ROOT / "tests" / "data" / "mnist_test_500.npz")["x"]
        return form.to_levels(x[:NUM_IMAGES])
    test = load_test("digits", height=form.height, width=form.width, levels=form.levels)
    return test.x[:NUM_IMAGES]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """The service with these bundles."""
    app = create_app(Settings(bundles=tuple(map(str, PATHS)), log_level="error"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            while (await client.get("/health/ready")).status_code != 200:
                await anyio.sleep(0.05)
            yield client


def png_bytes(image: np.ndarray) -> int:
    """Of the smallest PNG that Pillow makes. Shape: uint8 (C, H, W)."""
    flat = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    forms = [Image.fromarray(flat)]
    if set(np.unique(image)) <= {0, 255} and len(image) == 1:
        forms.append(Image.fromarray(flat > 0))
    sizes = []
    for form in forms:
        file = io.BytesIO()
        form.save(file, "PNG", optimize=True)
        sizes.append(len(file.getvalue()))
    return min(sizes)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
async def test_images_come_back_and_take_less_than_files(
    path: Path, client: httpx.AsyncClient
) -> None:
    x = images(path)
    body = io.BytesIO()
    np.save(body, x)
    url = f"/compress?model={path.name}"
    sent = await client.post(url, content=body.getvalue(), headers=NPY)
    assert sent.status_code == 200, sent.text
    stream = unpack(sent.content, NUM_IMAGES)
    assert [len(stream.segments), stream.model] == [2, path.name]
    back = await client.post("/decompress", content=sent.content, headers=STREAM)
    assert back.status_code == 200, back.text
    assert np.array_equal(np.load(io.BytesIO(back.content)), x)
    assert len(sent.content) < 0.5 * sum(png_bytes(image) for image in x)


async def test_the_promised_models_compress() -> None:
    assert {"made_digits", "pixelcnn_digits", "made_mnist-binary"} <= {p.name for p in PATHS}
