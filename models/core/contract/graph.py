"""Pure tensor functions of a model, and how ONNX Runtime runs them on the CPU."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
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


class OnnxFunction:
    """An exported graph run by ONNX Runtime: the same tensors in and out as `Graph.function`.

    Raises ValueError if the bytes are no ONNX model that this runtime can load.
    """

    def __init__(self, model: bytes, num_threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that spin between calls take the CPU from the HTTP side of the service.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime's own exception classes are not public
            raise ValueError(f"not a loadable ONNX model: {error}") from error
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        feeds = {
            name: np.ascontiguousarray(t.detach().numpy())
            for name, t in zip(self._inputs, tensors, strict=True)
        }
        return tuple(torch.from_numpy(value) for value in self._session.run(None, feeds))


def seconds_per_call(
    function: Callable[..., tuple[Tensor, ...]], tensors: tuple[Tensor, ...], repeats: int = 3
) -> float:
    """The shortest of a few timed calls after one warm-up call, in seconds."""
    function(*tensors)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*tensors)
        times.append(time.perf_counter() - start)
    return min(times)
