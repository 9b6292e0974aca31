"""Kolmogorov and Smirnov's distance, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from models.core.calibration import kolmogorov
from models.core.calibration.conformal import Calibration
from models.core.calibration.online_conformal import OnlineRanks


@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize(
    ("num", "length", "shift"),
    [(5, 3, 0), (1, 1, 0), (100, 50, 0.5), (500, 1000, 0.1), (40, 2, -2), (9, 4, 9), (9, 4, -9)],
)
def test_two_samples(num: int, length: int, shift: float, decimals: int) -> None:
    rng = np.random.default_rng(num)
    calibration = rng.standard_normal(num).round(decimals).astype(np.float32)
    stream = (rng.standard_normal(length) + shift).round(decimals).astype(np.float32)
    ranks = OnlineRanks(Calibration.fit(torch.from_numpy(calibration)))
    counts = ranks.calibration_counts
    cells = np.bincount(ranks.rank(torch.from_numpy(stream)).cell, minlength=len(counts))
    expected = ks_2samp(calibration, stream)
    statistic = kolmogorov.distance(cells, counts)
    assert statistic == pytest.approx(expected.statistic)
    if min(num, length) >= 50:
        found = kolmogorov.p_value(statistic, length, num)
        assert found == pytest.approx(expected.pvalue, rel=0.25)


def test_the_p_value_lies_between_0_and_1() -> None:
    assert kolmogorov.p_value(1.0, 1000, 1000) < 1e-300
    assert kolmogorov.p_value(0.01, 10, 10) == 1
    above, below = kolmogorov.p_value(0.1999, 2, 2), kolmogorov.p_value(0.2001, 2, 2)
    assert above == pytest.approx(below)
