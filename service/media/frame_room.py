"""Memory for the frames of animations, which are all there before the first one can be sent."""

import contextlib
from collections.abc import Iterator

from service.errors import Overloaded, TooManyRows

_NUM_ANIMATIONS = 8
"""How many there is room for if all have the largest size; smaller ones may be more."""


class FrameRoom:
    """So many bytes for one animation, and eight times as many for all. On the loop's thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.num_bytes = 0
        """Taken now."""

    @contextlib.contextmanager
    def take(self, num_bytes: int) -> Iterator[None]:
        """Room until the context ends. Raises TooManyRows, or Overloaded if it is full."""
        if num_bytes > self._max_bytes:
            raise TooManyRows(
                f"{num_bytes} bytes of frames: accepted are {self._max_bytes}, so fewer samples, "
                "or a larger progress_every"
            )
        if self.num_bytes + num_bytes > _NUM_ANIMATIONS * self._max_bytes:
            raise Overloaded("too many animations are being made", 1.0)
        self.num_bytes += num_bytes
        try:
            yield
        finally:
            self.num_bytes -= num_bytes
