"""Record what a running service answers, and compare another version's answers byte for byte.

    python -m benchmarks replay record URL FILE
    python -m benchmarks replay compare URL FILE

Over HTTP only, one request at a time. What differs from run to run is masked: durations and the
backends' measurements. `compare` sends the very bytes that FILE holds, so that the two services
get the same requests even if one of them answers differently from what the next one is made of.
"""

import base64
import http.client
import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks import replay_forms, replay_models, replay_refused
from benchmarks.replay_requests import Answer, Exchanges, Request

_TIMEOUT_S = 600.0
_HEADERS = (
    "content-type",
    "content-disposition",
    "allow",
    "location",
    "retry-after",
    "cache-control",
    "x-",
)
"""Beginnings of the names of headers that are compared; Content-Length follows from the body."""
_TIMED = ("x-queue-ms", "x-compute-ms")
_MASKS = (
    (re.compile(rb'"timing_ms": ?\{[^{}]*\}'), b'"timing_ms":{}'),
    (
        re.compile(rb'"milliseconds_by_rows": ?\{(\{[^{}]*\}|[^{}])*\}'),
        b'"milliseconds_by_rows":{}',
    ),
    (re.compile(rb"^: ping\s*\n", re.MULTILINE), b""),
)
_EXCERPT = 60
"""Bytes around the first difference of two bodies that a report shows."""


def main(arguments: list[str]) -> None:
    """Record or compare; the exit status is 1 if anything differs."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    match arguments:
        case ["record", url, path]:
            exchanges = list(_recorded(url))
            Path(path).write_bytes(packed(exchanges))
            console.print(f"{len(exchanges)} requests recorded: {_statuses(exchanges)}")
        case ["compare", url, path]:
            exchanges = unpacked(Path(path).read_bytes())
            found = [(old, sent(url, request)) for request, old in exchanges]
            reports = [
                f"{number} {request.name} ({request.method} {request.path[:80]}): {line}"
                for number, ((request, _), pair) in enumerate(zip(exchanges, found, strict=True))
                for line in differences(*pair)
            ]
            for line in reports:
                console.print(line)
            console.print(f"{len(exchanges)} requests compared, {len(reports)} differences")
            if reports:
                raise SystemExit(1)
        case _:
            console.print("accepted are: replay record URL FILE, replay compare URL FILE")
            raise SystemExit(1)


def sent(url: str, request: Request) -> Answer:
    """What the service answers, without what varies. A new connection for every request."""
    place = urlsplit(url)
    assert place.hostname is not None
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=_TIMEOUT_S)
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        names = {name.lower() for name in request.headers}
        if "content-length" not in names and (request.body or request.method == "POST"):
            connection.putheader("Content-Length", str(len(request.body)))
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        return _masked(request, response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def differences(old: Answer, new: Answer) -> list[str]:
    """One line for every way in which two answers to a request differ."""
    lines = []
    if old.status != new.status:
        lines.append(f"status {old.status} became {new.status}")
    for name in sorted(old.headers.keys() | new.headers.keys()):
        before, after = old.headers.get(name), new.headers.get(name)
        if before != after:
            lines.append(f"header {name}: {before!r} became {after!r}")
    if old.body != new.body:
        pairs = zip(old.body, new.body, strict=False)
        shorter = min(len(old.body), len(new.body))
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
        part = slice(max(0, at - _EXCERPT // 2), at + _EXCERPT)
        lines.append(
            f"body of {len(old.body)} bytes became {len(new.body)}, from byte {at} on: "
            f"{old.body[part]!r} became {new.body[part]!r}"
        )
    return lines


def packed(exchanges: list[tuple[Request, Answer]]) -> bytes:
    """As one compressed file, the same bytes for the same exchanges."""
    rows = [
        {
            "request": {**vars(request), "body": base64.b64encode(request.body).decode()},
            "answer": {**vars(answer), "body": base64.b64encode(answer.body).decode()},
        }
        for request, answer in exchanges
    ]
    return lzma.compress(json.dumps(rows).encode())


def unpacked(data: bytes) -> list[tuple[Request, Answer]]:
    """What `packed` has packed."""

    def fields(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "body": base64.b64decode(row["body"])}

    rows = json.loads(lzma.decompress(data))
    return [(Request(**fields(r["request"])), Answer(**fields(r["answer"]))) for r in rows]


def _recorded(url: str) -> Iterator[tuple[Request, Answer]]:
    for part in (replay_forms, replay_models, replay_refused):
        yield from _held(url, part.exchanges())


def _held(url: str, exchanges: Exchanges) -> Iterator[tuple[Request, Answer]]:
    """Ask what a plan asks; what it asks next may depend on the answers."""
    try:
        request = next(exchanges)
        while True:
            answer = sent(url, request)
            yield request, answer
            request = exchanges.send(answer)
    except StopIteration:
        return


def _masked(request: Request, status: int, headers: list[tuple[str, str]], body: bytes) -> Answer:
    kept = {
        name.lower(): "" if name.lower() in _TIMED else value
        for name, value in headers
        if name.lower().startswith(_HEADERS)
    }
    for pattern, replacement in _MASKS:
        body = pattern.sub(replacement, body)
    if request.path == "/metrics":
        # Values and labels depend on who asked before: what there is to measure does not.
        body = b"\n".join(sorted(line for line in body.split(b"\n") if line.startswith(b"#")))
    return Answer(status, kept, body)


def _statuses(exchanges: list[tuple[Request, Answer]]) -> str:
    found = [answer.status for _, answer in exchanges]
    return ", ".join(f"{found.count(status)} of {status}" for status in sorted(set(found)))
