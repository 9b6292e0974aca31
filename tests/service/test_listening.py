"""Sockets: taken before models are loaded, on both families if asked for."""

import signal
import socket
from pathlib import Path

import pytest

from service.listening import listen, urls
from tests.support.service.process import BOUND_S, served, until


def close(sockets: list[socket.socket]) -> None:
    for own in sockets:
        own.close()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_every_address_of_both_families() -> None:
    sockets = listen("::", 0)
    port = sockets[0].getsockname()[1]
    for address in ("127.0.0.1", "::1"):
        socket.create_connection((address, port)).close()
    close(sockets)


def test_an_address_of_one_family() -> None:
    sockets = listen("127.0.0.1", 0)
    assert urls(sockets) == [f"http://127.0.0.1:{sockets[0].getsockname()[1]}"]
    close(sockets)


def test_a_taken_port_is_noticed_before_anything_is_loaded(bundles: Path, tmp_path: Path) -> None:
    (taken,) = listen("127.0.0.1", 0)
    with taken, served(bundles, tmp_path, LIKELY_PORT=str(taken.getsockname()[1])) as service:
        assert service.process.wait(BOUND_S) == 2
        line, rest = service.log.read_text().split("\n", 1)
        assert line.startswith("LIKELY_HOST='127.0.0.1' with LIKELY_PORT=")
        assert not rest


def test_sigterm_is_obeyed_while_models_are_loaded(bundles: Path, tmp_path: Path) -> None:
    places = ",".join([str(bundles)] * 1000)  # more than a test would wait for
    with served(bundles, tmp_path, LIKELY_BUNDLES=places) as service:
        until(lambda: "running on http" in service.log.read_text())
        until(lambda: "another bundle is named" in service.log.read_text())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(BOUND_S) == 0
        assert "nothing to serve" not in service.log.read_text()
