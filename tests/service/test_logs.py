"""The log can neither stop the service nor break it."""

import os
import subprocess
import sys

from service.logs import Sink
from tests.support.service.process import BOUND_S, ROOT


def test_lines_arrive_in_their_order() -> None:
    read, write = os.pipe()
    sink = Sink(write)
    for i in range(100):
        sink.write(f"line {i}\n")
    sink.close(BOUND_S)
    assert os.read(read, 10_000).decode().split("\n")[:-1] == [f"line {i}" for i in range(100)]
    os.close(read)
    os.close(write)


def test_a_pipe_that_nobody_reads_stops_nobody() -> None:
    read, write = os.pipe()
    sink = Sink(write, max_lines=5)
    for _ in range(100):
        sink.write("x" * 10_000)
    sink.close(0.0)
    reader = os.fdopen(read, "rb")
    os.set_blocking(write, True)
    assert reader.readline() == b"x" * 10_000 + b"\n"
    reader.close()  # what the sink still writes has nobody to go to, and raises nothing
    sink.close(BOUND_S)
    os.close(write)


def test_a_process_whose_log_is_not_read_starts_and_stops() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    # The pipe is full from the start: every line of the log would block.
    environment = {"LIKELY_BUNDLES": "/no/such/folder", "LIKELY_PORT": "0", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=write
    ) as process:
        assert process.wait(BOUND_S) == 1
    os.close(read)
    os.close(write)
