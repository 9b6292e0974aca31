"""What a row of an operation costs, measured once, so that a step stays short."""

import time
from typing import Any

from models.core.contract.operation import Operation
from models.core.contract.rows import Rows, concat

NUM_ROWS = 8
_REPEATS = 3
_LONG_S = 0.05
"""A row whose step takes this long alone costs too much by any measure: eight would take long."""


def row_ms(operation: Operation[Any], inputs: Rows, params: Any) -> float:
    """The shortest of a few steps of 8 rows, by row, in ms. `inputs` is one row.

    Includes what surrounds the networks, which is most of the time of a small model's step. Call
    it on the thread that will run the model.
    """
    alone_s = _step_s(operation, inputs, params, 2)
    if alone_s > _LONG_S:
        return 1000 * alone_s
    return 1000 * _step_s(operation, inputs, params, _REPEATS, NUM_ROWS) / NUM_ROWS


def _step_s(
    operation: Operation[Any], inputs: Rows, params: Any, repeats: int, num_rows: int = 1
) -> float:
    """The shortest of some first steps of so many rows, in seconds."""
    rows = operation.init(concat([inputs] * num_rows), params)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        operation.step(rows)
        times.append(time.perf_counter() - start)
    return min(times)
