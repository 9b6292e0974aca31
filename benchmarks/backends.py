"""torch against ONNX Runtime for every graph of every shipped bundle, one thread."""

from pathlib import Path

import torch
from rich.table import Table

from models.core.bundle import bundle
from models.core.bundle.onnx import OnnxFunction, seconds_per_call

BUNDLES = Path(__file__).parents[1] / "bundles"
_SIZES = (1, 4, 16, 64)


def run() -> Table:
    """Milliseconds per call of both, and torch's time over ONNX Runtime's."""
    torch.set_num_threads(1)
    table = Table("bundle", "graph", "rows", "torch ms", "onnx ms", "torch / onnx")
    for path in sorted(BUNDLES.iterdir()):
        loaded = bundle.load(path)
        for name, graph in loaded.build().graphs().items():
            exported = OnnxFunction(loaded.graphs[name], 1)
            for size in _SIZES:
                rows = graph.rows(size)
                times = [
                    1000 * seconds_per_call(function, rows, repeats=10)
                    for function in (graph.function, exported)
                ]
                ratio = times[0] / times[1]
                table.add_row(
                    path.name, name, str(size), *(f"{t:.2f}" for t in times), f"{ratio:.2f}"
                )
    return table
