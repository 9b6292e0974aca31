"""A MAF's inverse at 784 dimensions: all dimensions a pass to a fixed point, or one a pass."""

import time
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from models import maf
from models.core.bundle import bundle
from models.core.contract.model import Servable
from models.core.contract.noise import row_seeds
from models.core.flow.inversion_programs import SampleByInversion, SampleByInversionParams

BUNDLE = Path(__file__).parents[1] / "bundles" / "maf_mnist"
_SIZES = (1, 4, 16)
_ROUNDS = 3


class Inverted(NamedTuple):
    """What a batch of samples took."""

    cpu_s: float
    passes: float
    """Passes of the network, a sample, all blocks together."""
    y: Tensor
    """Pixels in (0, 1), before they are rounded to grey levels."""


def run() -> Table:
    """CPU seconds a batch (the least of rounds that take turns), passes a sample, their ratio.

    The last column is the largest difference between the two methods' pixels in (0, 1).
    """
    torch.set_num_threads(1)
    model, weights = _model()
    table = Table(
        "rows",
        "sequential s",
        "passes",
        "fixed point s",
        "passes",
        "sequential / fixed point",
        "difference",
        title=weights,
    )
    for size in _SIZES:
        rounds = [
            (_sample(model, size, "sequential"), _sample(model, size, "fixed_point"))
            for _ in range(_ROUNDS)
        ]
        slow, quick = (min(column, key=_cpu_s) for column in zip(*rounds, strict=True))
        table.add_row(
            str(size),
            f"{slow.cpu_s:.3f}",
            f"{slow.passes:.0f}",
            f"{quick.cpu_s:.3f}",
            f"{quick.passes:.1f}",
            f"{slow.cpu_s / quick.cpu_s:.1f}",
            f"{float((slow.y - quick.y).abs().max()):.1e}",
        )
    return table


def _cpu_s(inverted: Inverted) -> float:
    return inverted.cpu_s


def _model() -> tuple[Servable, str]:
    if BUNDLE.exists():
        loaded = bundle.load(BUNDLE)
        return loaded.build(), loaded.name
    torch.manual_seed(0)
    model = maf.Model(maf.Config(event_shape=(1, 28, 28), num_blocks=5, hidden=(80, 80)))
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval(), "random weights, since there is no bundle maf_mnist"


@torch.no_grad()
def _sample(model: Servable, size: int, method: Literal["sequential", "fixed_point"]) -> Inverted:
    operation = model.operations()["sample"]
    assert isinstance(operation, SampleByInversion)
    params = SampleByInversionParams(method=method)
    start, passes = time.process_time(), torch.zeros(size)
    rows = operation.init({"seed": row_seeds(0, size)}, params)
    while not bool(rows["done"].all()):
        passes += ~rows["done"]
        rows = operation.step(rows)
    y, _ = operation.outside.inverse(rows["target"])
    return Inverted(time.process_time() - start, float(passes.mean()), y)
