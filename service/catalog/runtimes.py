"""Which runtime runs a model's graphs: PyTorch, or ONNX Runtime where that is faster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from models.core.bundle.onnx import OnnxFunction, seconds_per_call
from models.core.contract.graph import Graph
from models.core.contract.model import Servable

BATCH_SIZES = (1, 8, 32)
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Backend:
    """What runs one graph at all batch sizes, so that company never changes who answers."""

    name: str
    """torch or onnx."""
    milliseconds: Mapping[str, Mapping[int, float]]
    """Measured time of a call, by runtime and number of rows."""


def choose(
    model: Servable, exported: Mapping[str, bytes], wish: str, num_threads: int
) -> dict[str, Backend]:
    """Measure every graph and make the model use the faster runtime, or the one wished for.

    Where ONNX Runtime is wished for and can do it, PyTorch is compared but not timed.

    Call it on the thread that will run the model. Raises ValueError if an exported graph does
    not load, does not belong to the model, or disagrees with PyTorch.
    """
    graphs = model.graphs()
    if unknown := set(exported) - set(graphs):
        raise ValueError(f"graphs {sorted(unknown)} are none of the model's {sorted(graphs)}")
    chosen = {}
    for name, graph in graphs.items():
        onnx = OnnxFunction(exported[name], num_threads) if name in exported else None
        times = {}
        if onnx is None or wish != "onnx":
            times["torch"] = _times(graph.function, graph)
        if onnx is not None:
            _compare(name, graph, onnx)
            times["onnx"] = _times(onnx, graph)
        fastest = min(times, key=lambda runtime: sum(times[runtime].values()))
        best = wish if wish in times else "torch" if wish == "onnx" else fastest
        model.use(name, onnx if best == "onnx" else None)
        chosen[name] = Backend(best, times)
    return chosen


def _times(function: Callable[..., tuple[Tensor, ...]], graph: Graph) -> dict[int, float]:
    return {
        size: round(1000 * seconds_per_call(function, graph.rows(size)), 3) for size in BATCH_SIZES
    }


def _compare(name: str, graph: Graph, onnx: OnnxFunction) -> None:
    for expected, got in zip(graph.function(*graph.example), onnx(*graph.example), strict=True):
        if not _close(expected, got):
            raise ValueError(f"graph {name}: ONNX Runtime and PyTorch disagree on its example")


def _close(expected: Tensor, got: Tensor) -> bool:
    return expected.shape == got.shape and torch.allclose(
        got.to(expected.dtype), expected, rtol=TOLERANCE, atol=TOLERANCE
    )
