"""Event streams over a real socket: news comes at once, and a hang-up frees the rows."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service.process import Process, served, until, wait_ready
from tests.support.service.streaming import ACCEPT_EVENTS, parsed, picture

ENDLESS = {"params": {"num_steps": 10_000}, "num_samples": 4, "progress_every": 10}


@pytest.fixture(scope="module")
def service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A ready service."""
    with served(bundles, tmp_path_factory.mktemp("service")) as process:
        wait_ready(process)
        yield process


def test_progress_comes_while_the_work_goes_on(service: Process) -> None:
    url = service.url("/sample")
    with service.http.stream("POST", url, json=ENDLESS, headers=ACCEPT_EVENTS) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        text = b""
        # Leaving a loop over the chunks would end their iterator, which hangs up.
        chunks = response.iter_bytes()
        while text.count(b"\n\n") < 2:
            text += next(chunks)
        assert service.has_rows_inside()
        events = parsed(text[: text.rindex(b"\n\n") + 2])
    assert [name for name, _ in events[:2]] == ["progress", "progress"]
    assert events[0][1]["step"] < events[1][1]["step"] < events[1][1]["of"] == 10_000
    assert picture(events[0][1]["preview"]).shape == (18, 18)
    until(lambda: not service.has_rows_inside())
    metrics = service.url("/metrics")
    until(lambda: 'likely_cancelled_total{where="running"} 1.0' in service.http.get(metrics).text)


def test_an_animation_that_nobody_waits_for_frees_its_rows(service: Process) -> None:
    def cancelled() -> float:
        text = service.http.get(service.url("/metrics")).text
        return sum(map(float, re.findall(r"likely_cancelled_total\{.*\} (.*)", text)))

    before, body = cancelled(), {**ENDLESS, "progress_every": None}
    with (
        httpx.Client(timeout=httpx.Timeout(60, read=0.3)) as impatient,
        pytest.raises(httpx.ReadTimeout),
    ):
        impatient.post(service.url("/sample"), json=body, headers={"accept": "image/gif"})
    until(lambda: cancelled() > before)
    until(lambda: not service.has_rows_inside())
    short = {"params": {"num_steps": 2}}
    answer = service.http.post(service.url("/sample"), json=short, headers={"accept": "image/gif"})
    assert answer.content.startswith(b"GIF89a")


def test_a_stream_that_is_read_to_its_end_has_the_result(service: Process) -> None:
    body = {"params": {"num_steps": 40}, "progress_every": 10, "seed": 3}
    response = service.http.post(service.url("/sample"), json=body, headers=ACCEPT_EVENTS)
    *progress, (name, result) = parsed(response.content)
    assert name == "result"
    assert {event for event, _ in progress} <= {"progress"}
    same = service.http.post(service.url("/sample"), json={**body, "progress_every": None})
    assert result["samples"] == same.json()["samples"]
    assert not service.has_rows_inside()
