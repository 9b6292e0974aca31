"""The service as a process of its own, on a free port."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[3]


BOUND_S = 60


class Process:
    """A running service and a client of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log
        self.port = 0
        self.http = httpx.Client(timeout=BOUND_S)

    def url(self, path: str) -> str:
        """The address of an endpoint."""
        return f"http://127.0.0.1:{self.port}{path}"

    def has_rows_inside(self) -> bool:
        """Whether work is in the worker, by its metrics."""
        return "likely_rows_inside 0.0" not in self.http.get(self.url("/metrics")).text

    def ready_status(self) -> int:
        """What the readiness probe says."""
        return self.http.get(self.url("/health/ready")).status_code


def until(condition: Callable[[], Any]) -> Any:
    """Ask again until it holds; fails after a bound."""
    end_s = time.monotonic() + BOUND_S
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end_s
        pause.wait(0.01)
    return value


@contextmanager
def served(folder: Path, tmp_path: Path, **env: str) -> Iterator[Process]:
    """`python -m service` on a free port, killed in the end if it still runs."""
    log = tmp_path / "log"
    environment = {
        "LIKELY_BUNDLES": str(folder),
        "LIKELY_DEFAULT_MODEL": "jem",
        "LIKELY_PORT": "0",
        "OMP_NUM_THREADS": "1",
        **env,
    }
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=file, stderr=file
        ) as process,
    ):
        service = Process(process, log)
        try:
            yield service
        finally:
            service.http.close()
            process.kill()


def wait_ready(service: Process) -> None:
    """Find the port in the log and wait until the models are warm."""

    def port() -> int:
        assert service.process.poll() is None, service.log.read_text()
        found = re.search(r"running on http://127.0.0.1:(\d+)", service.log.read_text())
        return int(found[1]) if found else 0

    service.port = until(port)
    until(lambda: service.ready_status() == 200)
