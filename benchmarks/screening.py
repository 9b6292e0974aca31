"""One image screened over HTTP: CPU time a request, ours and a plain FastAPI's, and the model's."""

import asyncio
import io
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from rich.table import Table

from benchmarks.load import Load, drive, request
from models.core.bundle import bundle
from models.core.bundle.onnx import OnnxFunction

ROOT = Path(__file__).parents[1]
_ROUNDS, _CONNECTIONS, _TOTAL = 3, 32, 3000


def run() -> Table:
    """Medians over interleaved rounds; the last column is what serving adds to the model."""
    pictures = images()
    alone = _model_alone_us(pictures)
    servers = {
        "plain FastAPI, multipart": ([sys.executable, "-m", "uvicorn", "benchmarks.plain:app"], 0),
        "likely, raw body": ([sys.executable, "-m", "service"], 1),
    }
    loads: dict[str, list[Load]] = {name: [] for name in servers}
    for _ in track(range(_ROUNDS), "rounds"):
        for name, (command, raw) in servers.items():
            loads[name].append(_serve(command, _raw(pictures) if raw else _multipart(pictures)))
    table = Table(
        "server", "CPU us/request", "requests/s", "p50 ms", "p99 ms", "over model + decode"
    )
    table.add_row("model + PNG decode alone", f"{alone:.0f}", "", "", "", "1.00")
    for name, rounds in loads.items():
        cpu = statistics.median(load.cpu_s for load in rounds) / _TOTAL * 1e6
        rate = statistics.median(_TOTAL / load.seconds for load in rounds)
        p50, p99 = (
            statistics.median(np.quantile(load.latencies_s, q) for load in rounds) * 1000
            for q in (0.5, 0.99)
        )
        table.add_row(
            name, f"{cpu:.0f}", f"{rate:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu / alone:.2f}"
        )
    return table


def images() -> list[bytes]:
    """PNGs of test images."""
    sample = np.load(ROOT / "tests" / "data" / "fashion-mnist_test_1000.npz")["x"][:64]
    files = []
    for pixels in sample:
        buffer = io.BytesIO()
        Image.fromarray(pixels[0]).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files


def _model_alone_us(images: list[bytes]) -> float:
    """CPU microseconds to decode one image and run the model on it, in this process."""
    loaded = bundle.load(ROOT / "bundles" / "jem_fashion-mnist")
    graph = OnnxFunction(loaded.graphs["logits"], 1)
    times = []
    for _ in range(_ROUNDS + 1):
        start = time.process_time()
        for image in images * 8:
            pixels = np.asarray(Image.open(io.BytesIO(image)))
            graph(torch.from_numpy(pixels)[None, None].float() / 255)
        times.append((time.process_time() - start) / (8 * len(images)) * 1e6)
    return statistics.median(times[1:])


def _raw(images: list[bytes]) -> list[bytes]:
    return [request("/ood_score?model=jem_fashion-mnist", "image/png", image) for image in images]


def _multipart(images: list[bytes]) -> list[bytes]:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
    head += b"Content-Type: image/png\r\n\r\n"
    form = "multipart/form-data; boundary=b"
    return [
        request("/ood_score?model=jem_fashion-mnist", form, head + image + b"\r\n--b--\r\n")
        for image in images
    ]


def _serve(command: list[str], requests: list[bytes]) -> Load:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    extra = ["--port", str(port), "--log-level", "warning"] if "uvicorn" in command else []
    environment = {**os.environ, "LIKELY_PORT": str(port), "LIKELY_LOG_LEVEL": "warning"}
    server = subprocess.Popen(
        [*command, *extra], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        await_ready(port, "/openapi.json" if extra else "/health/ready")
        asyncio.run(drive(port, server.pid, requests, _CONNECTIONS, _TOTAL // 10))
        return asyncio.run(drive(port, server.pid, requests, _CONNECTIONS, _TOTAL))
    finally:
        server.terminate()
        server.wait()


def await_ready(port: int, path: str) -> None:
    """Wait until a server answers. Raises TimeoutError."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no server on port {port}")
