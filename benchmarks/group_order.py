"""Groups of images in the order in which their source has them, and the same images shuffled.

A group test presumes that images are independent; where a writer's digits stand together, they are
not. Needs MNIST itself (see `LIKELY_DATA`).
"""

import numpy as np
import torch
from rich.table import Table
from scipy import stats

from benchmarks.screen_guarantees import ROOT
from models.core.bundle.bundle import load
from models.core.bundle.onnx import served
from models.core.calibration.group import group_test
from training.data.sources import SOURCES, fetch
from training.pipeline.make_screen import screened

_NUM = 10_000
_SIZE = 20
_ALPHA = 0.05


def run() -> Table:
    """Shares of groups of 20 that alarm at 0.05, of the 10,000 test images of MNIST."""
    bundle = load(ROOT / "bundles" / "screen_mnist")
    calibration, source = bundle.calibrations["screen"], SOURCES["mnist"]
    raw = source.read(tuple(fetch(file) for file in source.files))
    assert raw.is_test is not None
    x = np.asarray(raw.images)[raw.is_test][:_NUM].reshape(-1, 1, 28, 28)
    rows = screened(served(bundle), x)
    orders = {
        "as the source has them": torch.arange(_NUM),
        "shuffled": torch.randperm(_NUM, generator=torch.Generator().manual_seed(0)),
    }
    table = Table("order", "groups", "alarmed", "KS of p-values against uniform, p")
    p_value = calibration.p_value(rows["score"]).numpy()
    uniform = stats.kstest(p_value, "uniform").pvalue
    for name, order in orders.items():
        alarms = [
            group_test(calibration, rows["score"][group], rows["z"][group]).p_value <= _ALPHA
            for group in order.split(_SIZE)
        ]
        table.add_row(name, str(len(alarms)), f"{np.mean(alarms):.3f}", f"{uniform:.1e}")
    return table
