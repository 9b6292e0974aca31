"""A pure tensor function of a model, which may be exported and run elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Graph:
    """A function from tensors to tensors that can be exported, dynamic in the batch."""

    function: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Tensor, ...]
    """One tensor per input with a leading batch dimension, for export and warm-up."""

    def rows(self, num_rows: int) -> tuple[Tensor, ...]:
        """The example's first row repeated. Shapes: (_, ...) -> (num_rows, ...)."""
        return tuple(t[:1].expand(num_rows, *t.shape[1:]).contiguous() for t in self.example)
