"""The service as a process: a real socket, real hang-ups, SIGTERM and exit codes."""

import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.service.apps import LONG
from tests.support.service.pictures import png
from tests.support.service.process import BOUND_S, Process, served, until, wait_ready


@pytest.fixture(scope="module")
def service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A ready service that several tests share."""
    with served(bundles, tmp_path_factory.mktemp("service")) as process:
        wait_ready(process)
        yield process


def test_sigterm_finishes_what_was_accepted_and_takes_no_more(
    bundles: Path, tmp_path: Path
) -> None:
    accepted = {"params": {"num_steps": 3_000}, "num_samples": 4}
    with served(bundles, tmp_path) as service, ThreadPoolExecutor() as pool:
        wait_ready(service)
        long = pool.submit(httpx.post, service.url("/sample"), json=accepted, timeout=BOUND_S)
        until(service.has_rows_inside)
        service.process.send_signal(signal.SIGTERM)
        until(lambda: service.ready_status() == 503)
        refused = service.http.post(service.url("/sample"), json={})
        assert refused.status_code == 503
        assert refused.json()["type"] == "/problems/shutting-down"
        service.http.close()
        answer = long.result(BOUND_S)
        assert answer.status_code == 200
        assert len(answer.json()["samples"]) == 4
        assert service.process.wait(BOUND_S) == 0


def test_sigterm_fails_what_takes_too_long(bundles: Path, tmp_path: Path) -> None:
    brief = served(bundles, tmp_path, LIKELY_DRAIN_S="0.1")
    with brief as service, ThreadPoolExecutor() as pool:
        wait_ready(service)
        long = pool.submit(httpx.post, service.url("/sample"), json=LONG, timeout=BOUND_S)
        until(service.has_rows_inside)
        service.process.send_signal(signal.SIGTERM)
        answer = long.result(BOUND_S)
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/shutting-down"
        service.http.close()
        assert service.process.wait(BOUND_S) == 0


def test_hanging_up_frees_the_rows(service: Process) -> None:
    body = b'{"params": {"num_steps": 10000}, "num_samples": 16}'
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(
            b"POST /sample HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        until(service.has_rows_inside)
    until(lambda: not service.has_rows_inside())
    # the rows are freed first: the event loop counts the hang-up in a moment of its own
    metrics = service.url("/metrics")
    until(lambda: "likely_cancelled_total{" in service.http.get(metrics).text)
    until(lambda: 'code="499",endpoint="/sample"' in service.http.get(metrics).text)
    answer = service.http.post(
        service.url("/energy"), content=png(), headers={"content-type": "image/png"}
    )
    assert answer.status_code == 200


def test_the_log_is_json_lines(service: Process) -> None:
    service.http.get(service.url("/models"), headers={"x-request-id": "find-me"})
    line = until(lambda: re.search(r"\{.*find-me.*\}", service.log.read_text()))
    assert '"path": "/models"' in line[0]
    assert all(text.startswith("{") for text in service.log.read_text().splitlines())


def test_with_nothing_to_serve_it_exits_with_1(tmp_path: Path) -> None:
    with served(tmp_path, tmp_path) as service:
        assert service.process.wait(BOUND_S) == 1
        assert "holds no bundle" in service.log.read_text()
