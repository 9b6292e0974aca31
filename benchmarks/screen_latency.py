"""How long one image waits for a screen's verdict over HTTP, and how many are screened a second."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track
from rich.table import Table

from benchmarks.load import Load, drive, request
from benchmarks.screening import ROOT, await_ready, images

_ROUNDS, _ALONE, _TOTAL, _CONNECTIONS = 3, 150, 300, 8


def run() -> Table:
    """Medians over rounds: one connection (batch 1), and eight."""
    pairs: list[tuple[Load, Load]] = [_serve() for _ in track(range(_ROUNDS), "rounds")]
    table = Table("load", "p50 ms", "p95 ms", "images/s")
    for title, index in (("one at a time", 0), (f"{_CONNECTIONS} connections", 1)):
        loads = [pair[index] for pair in pairs]
        p50, p95 = (
            float(np.median([np.quantile(load.latencies_s, q) for load in loads])) * 1000
            for q in (0.5, 0.95)
        )
        rate = float(np.median([len(load.latencies_s) / load.seconds for load in loads]))
        table.add_row(title, f"{p50:.1f}", f"{p95:.1f}", f"{rate:.0f}")
    return table


def _serve() -> tuple[Load, Load]:
    """A service of the screen alone, since others would make it start for a minute."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    requests = [request("/ood_score", "image/png", image) for image in images()]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "bundles" / "screen_fashion-mnist", Path(folder) / "screen")
        environment = {
            **os.environ,
            "LIKELY_PORT": str(port),
            "LIKELY_LOG_LEVEL": "warning",
            "LIKELY_BUNDLES": folder,
        }
        server = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
        )
        try:
            await_ready(port, "/health/ready")
            asyncio.run(drive(port, server.pid, requests, 1, 20))
            alone = asyncio.run(drive(port, server.pid, requests, 1, _ALONE))
            return alone, asyncio.run(drive(port, server.pid, requests, _CONNECTIONS, _TOTAL))
        finally:
            server.terminate()
            server.wait()
