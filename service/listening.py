"""Where the service listens: sockets that are taken before anything is loaded."""

import contextlib
import socket

_BACKLOG = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address of the host; `::` is every address of both families.

    Port 0 is one free port for all of them. Raises OSError if an address cannot be had.
    """
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as closed_on_error:
        for family, address in _addresses(host, port):
            own = closed_on_error.enter_context(socket.socket(family, socket.SOCK_STREAM))
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                both = host == "::" and socket.has_dualstack_ipv6()
                own.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
            own.bind((address, sockets[0].getsockname()[1] if sockets else port))
            own.listen(_BACKLOG)
            own.setblocking(False)
            sockets.append(own)
        closed_on_error.pop_all()
    return sockets


def urls(sockets: list[socket.socket]) -> list[str]:
    """Where the sockets can be reached."""
    names = [own.getsockname() for own in sockets]
    return [f"http://[{n[0]}]:{n[1]}" if ":" in n[0] else f"http://{n[0]}:{n[1]}" for n in names]


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a host by family, each once. Raises OSError for an unknown host."""
    passive = socket.AI_PASSIVE
    known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=passive)
    return list(dict.fromkeys((family, str(name[0])) for family, _, _, _, name in known))
