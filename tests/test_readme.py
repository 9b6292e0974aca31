"""The commands of the README and of docs/ work, and their answers are the ones shown there."""

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(
        r"```sh\n(.*?)```(?:\n\n```json\n(.*?)```)?", page.read_text(encoding="utf-8"), re.DOTALL
    )
]
ASKED = [(sh, shown) for sh, shown in BLOCKS if "curl" in sh and "my_model" not in sh]
CHANGING = {"queue", "compute"}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a service as `make serve` starts it, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LIKELY_PORT": str(port), "LIKELY_LOG_LEVEL": "error"}
    with subprocess.Popen([sys.executable, "-m", "service"], cwd=ROOT, env=environment) as server:
        address = f"http://127.0.0.1:{port}"
        try:
            while not _ready(address):
                assert server.poll() is None, "the service ended"
                time.sleep(0.5)  # asking without a pause keeps the service from loading
            yield address
        finally:
            server.terminate()


def test_the_answers_about_events_are_shown() -> None:
    shown = [re.findall(r"http://[^/]*(/\w+)", command)[-1] for command, answer in ASKED if answer]
    assert sorted(shown) == sorted(["/classify", "/energy", *["/log_likelihood", "/ood_score"] * 2])


@pytest.mark.parametrize(("command", "shown"), ASKED, ids=lambda text: text.split("\n")[0][8:60])
def test_a_command_gives_the_answer_shown(
    command: str, shown: str, url: str, tmp_path: Path
) -> None:
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    ran = subprocess.run(
        ["bash", "-euc", command.replace("http://127.0.0.1:8000", url)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not re.search(r'"type": ?"/problems/', ran.stdout)
    if shown:
        _compare(json.loads(ran.stdout), json.loads(shown), "answer")
    if "trousers.png" in command:
        assert (tmp_path / "trousers.png").read_bytes().startswith(b"\x89PNG")
    if "digits.gif" in command:
        assert (tmp_path / "digits.gif").read_bytes().startswith(b"GIF89a")
    if "again.png" in command:
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / "digit.png").read_bytes()


def _compare(got: Any, shown: Any, path: str) -> None:
    """Equal, but for timing and the rounding of another machine."""
    assert type(got) is type(shown), path
    if isinstance(shown, dict):
        assert got.keys() == shown.keys(), path
        for key in shown.keys() - CHANGING:
            _compare(got[key], shown[key], f"{path}.{key}")
    elif isinstance(shown, list):
        assert len(got) == len(shown), path
        for i, (a, b) in enumerate(zip(got, shown, strict=True)):
            _compare(a, b, f"{path}[{i}]")
    elif isinstance(shown, float):
        assert math.isclose(got, shown, rel_tol=1e-2, abs_tol=1e-3), path
    else:
        assert got == shown, path


def _ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health/ready", timeout=1):
            return True
    except OSError:
        return False
