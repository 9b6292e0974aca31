"""The log: one JSON object per line, from our code and from the libraries'."""

import atexit
import logging
import os
import queue
import sys
import threading
from typing import Any

import structlog

_MAX_LINES = 10_000
_FLUSH_S = 1.0
"""What a log that nobody reads may cost at the end."""


class Sink:
    """Lines on their way to a file descriptor: to write one neither waits nor raises.

    A thread of its own writes them. Where it cannot keep up, because the disk is full or nobody
    reads the pipe, lines are lost and counted; the count is written once there is room.
    """

    def __init__(self, descriptor: int, max_lines: int = _MAX_LINES) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(max_lines)
        self._num_lost = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Let a text be written in its turn."""
        if text and text != "\n":
            try:
                self._lines.put_nowait(text.rstrip("\n").encode("utf-8", "replace") + b"\n")
            except queue.Full:
                self._num_lost += 1

    def flush(self) -> None:
        """Lines are on their way as soon as they are written."""

    def close(self, timeout_s: float = _FLUSH_S) -> None:
        """Write what is left, as long as that takes no longer than the timeout."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._num_lost:
                line += b'{"event": "log lines lost", "num_lines": %d}\n' % self._num_lost
            if self._written(line):
                self._num_lost = 0
            else:
                self._num_lost += 1

    def _written(self, data: bytes) -> bool:
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:  # a full disk, a closed pipe: the service goes on without its log
            return False
        return True


def configure(level: str) -> None:
    """Send structlog and the standard library's loggers to standard output."""
    number = logging.getLevelNamesMapping()[level.upper()]
    sink: Any = Sink(sys.__stdout__.fileno() if sys.__stdout__ else 1)
    atexit.register(sink.close)
    shared: list[structlog.types.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sink),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sink)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[handler], level=number, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"
