"""A share of the rows inside for each client, so that one cannot close the door for the others."""

import threading
from collections import Counter
from functools import partial
from typing import Any, Protocol

from service.errors import Overloaded

_RETRY_AFTER_S = 1.0


class _Promise(Protocol):
    def add_done_callback(self, function: Any, /) -> object: ...


class ClientShares:
    """Rows inside by client. A client without any may bring a request of any size."""

    def __init__(self, share: float, max_rows_inside: int) -> None:
        self._max_rows = int(share * max_rows_inside)
        self._max_rows_inside = max_rows_inside
        self._rows: Counter[str] = Counter()
        self._lock = threading.Lock()

    def check(self, client: str, num_rows: int, of_request: int = 0) -> None:
        """Raises Overloaded if other requests of the client fill its share.

        `of_request` rows are inside of the request that these belong to.
        """
        if num_rows > self._max_rows_inside:
            return  # too large for anybody, which the worker says
        own = self._rows[client] - of_request
        if own and own + of_request + num_rows > self._max_rows:
            raise Overloaded(
                f"{own} rows of this client are inside and {num_rows} more do not fit its share: "
                f"accepted are {self._max_rows} of one client",
                _RETRY_AFTER_S,
            )

    def hold(self, client: str, num_rows: int, answer: _Promise) -> None:
        """Count the rows until they are answered or given up."""
        with self._lock:
            self._rows[client] += num_rows
        answer.add_done_callback(partial(self._release, client, num_rows))

    def _release(self, client: str, num_rows: int, _: object) -> None:
        with self._lock:
            self._rows[client] -= num_rows
            if not self._rows[client]:
                del self._rows[client]
