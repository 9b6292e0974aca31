"""What a row of an operation costs, measured once, so that a step stays short."""

import time
from typing import Any

from models.core.operation import Operation, Rows, concat

NUM_ROWS = 8
_REPEATS = 3
_LONG_S = 1.0
"""A step that takes this long is not repeated: its rows cost too much by any measure."""


def row_ms(operation: Operation[Any], inputs: Rows, params: Any) -> float:
    """The shortest of a few steps of 8 rows, by row, in ms. `inputs` is one row.

    Includes what surrounds the networks, which is most of the time of a small model's step. Call
    it on the thread that will run the model.
    """
    rows = operation.init(concat([inputs] * NUM_ROWS), params)
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        operation.step(rows)
        times.append(time.perf_counter() - start)
        if times[-1] > _LONG_S:
            break
    return 1000 * min(times) / NUM_ROWS
