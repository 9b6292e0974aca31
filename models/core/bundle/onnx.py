"""How ONNX Runtime runs the graphs of a bundle on the CPU."""

import time
from collections.abc import Callable

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle
from models.core.contract.model import Servable

_FATAL = 4
onnxruntime.disable_telemetry_events()
# What it has to say comes as exceptions; its lines would stand between those of our log.
onnxruntime.set_default_logger_severity(_FATAL)


class OnnxFunction:
    """An exported graph run by ONNX Runtime: the same tensors in and out as `Graph.function`.

    Raises ValueError if the bytes are no ONNX model that this runtime can load.
    """

    def __init__(self, model: bytes, num_threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _FATAL
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


def served(bundle: Bundle) -> Servable:
    """The bundle's model with the runtime that will serve it, so that numbers are the same.

    Raises ValueError for a screen whose scores are no longer those that were calibrated.
    """
    model = bundle.build()
    for name, graph in bundle.graphs.items():
        model.use(name, OnnxFunction(graph, num_threads=1))
    with torch.no_grad():
        model.check_runtimes()
    return model
