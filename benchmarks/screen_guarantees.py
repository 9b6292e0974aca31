"""Whether the promises of a screen hold: recalibrations, batches and groups of real images."""

from pathlib import Path

import numpy as np
import torch
from rich.progress import track
from rich.table import Table
from torch import Tensor

from models.core.bundle.bundle import load
from models.core.bundle.onnx import served
from models.core.calibration.conformal import Calibration, benjamini_hochberg
from models.core.calibration.group import group_test
from models.core.calibration.martingale import Martingale
from models.core.calibration.online_conformal import OnlineRanks
from models.core.calibration.rule import Rule
from models.core.contract.rows import Rows
from training.pipeline.make_screen import screened

ROOT = Path(__file__).parents[1]
_REPEATS = 200
_NUM = 2000  # calibration images of a resampled set
_DELTA = 0.05
_OWN, _STRANGE = 45, 5  # images of a batch
_GROUPS = 40  # of each size, in a repetition


def run() -> Table:
    """Promised and realised shares, for `screen_fashion-mnist`, with strangers from MNIST.

    Own images are those of its calibration and 1,000 of the test split: each repetition calibrates
    on 2,000 of them, drawn anew, and batches and groups are of the others.
    """
    calibration, own, strange = _looked_at()
    assert calibration.z is not None
    assert isinstance(calibration.reference, Tensor)
    scores = torch.cat([calibration.scores, own["score"]])
    z, reference = torch.cat([calibration.z, own["z"]]), calibration.reference
    table = Table("promise", "level", "realised", "what is counted")
    for alpha in (0.05, 0.01):
        rates = _rates(scores, alpha)
        for guarantee, realised in rates.items():
            share = float((realised > alpha).mean())
            promised = f"{_DELTA:g} of sets" if guarantee == "pac" else "about half of sets"
            told = f"{share:.3f} of sets above {alpha:g}; mean rate {realised.mean():.4f}"
            table.add_row(f"{guarantee}, alpha {alpha:g}", promised, told, "false alarms")
    for level in (0.05, 0.1):
        false, power = _discoveries(scores, strange, level)
        told = f"{false:.4f}; {power:.3f} of the strangers found"
        table.add_row("Benjamini-Hochberg", f"{level:g}", told, f"{_OWN} own, {_STRANGE} others")
    for size in (5, 10, 25):
        rate = _group_rate(scores, z, reference, size, 0.05)
        table.add_row(f"group of {size}", "0.05", f"{rate:.4f}", "own groups alarmed")
    alarms, delays = _drift(calibration, own["score"], strange)
    table.add_row("drift, own stream", "0.01", f"{alarms:.3f}", "streams of 1,000 alarmed")
    told = f"{float(np.median(delays)):.0f}, longest {max(delays):.0f}"
    table.add_row("drift, a tenth of strangers", "", told, "images until the alarm")
    return table


def _looked_at() -> tuple[Calibration, Rows, Tensor]:
    """The shipped calibration, what the screen says of own test images, and scores of strangers."""
    bundle = load(ROOT / "bundles" / "screen_fashion-mnist")
    model, calibration = served(bundle), bundle.calibrations["screen"]
    names = ("fashion-mnist_test_1000", "mnist_test_500")
    own, strange = (screened(model, _stored(name)) for name in names)
    return calibration, own, strange["score"]


def _rates(scores: Tensor, alpha: float) -> dict[str, np.ndarray]:
    """Rates of false alarms of calibration sets drawn with replacement, by guarantee.

    All scores are then the law that images are drawn from, and the rate among them is the true one:
    measured on some, it would exceed alpha by chance too.
    """
    rates_of: dict[str, list[float]] = {"marginal": [], "pac": []}
    for repeat in track(range(_REPEATS), "recalibrations"):
        drawn = torch.randint(len(scores), (_NUM,), generator=_generator(repeat))
        calibration = Calibration.fit(scores[drawn])
        for guarantee in ("marginal", "pac"):
            rule = Rule.of(calibration, alpha, guarantee, _DELTA)
            rates_of[guarantee].append(float(rule.judge(scores).is_ood.double().mean()))
    return {name: np.array(rates) for name, rates in rates_of.items()}


def _discoveries(scores: Tensor, strange: Tensor, level: float) -> tuple[float, float]:
    """Mean share of own images among the rejected, and mean share of strangers rejected."""
    false, power = [], []
    for repeat in track(range(10 * _REPEATS), "batches"):
        first, rest = _cut(len(scores), repeat)
        other = torch.randperm(len(strange), generator=_generator(repeat))[:_STRANGE]
        batch = torch.cat([scores[rest[:_OWN]], strange[other]])
        p_value = Calibration.fit(scores[first]).p_value(batch)
        rejected = benjamini_hochberg(p_value) <= level
        false.append(float(rejected[:_OWN].sum()) / max(1, int(rejected.sum())))
        power.append(float(rejected[_OWN:].double().mean()))
    return float(np.mean(false)), float(np.mean(power))


def _group_rate(scores: Tensor, z: Tensor, reference: Tensor, size: int, alpha: float) -> float:
    alarms = []
    for repeat in track(range(_REPEATS // 4), f"groups of {size}"):
        first, rest = _cut(len(scores), repeat)
        calibration = Calibration.fit(scores[first], reference, z[first])
        for start in range(0, _GROUPS * size, size):
            rows = rest[start : start + size]
            alarms.append(group_test(calibration, scores[rows], z[rows]).p_value <= alpha)
    return float(np.mean(alarms))


def _drift(calibration: Calibration, own: Tensor, strange: Tensor) -> tuple[float, list[float]]:
    """Share of streams of the own test images, in other orders, that alarm; and how many images
    it takes where a tenth are strangers. Shapes: scores (N,), (M,)."""
    alarms, delays = [], []
    for repeat in range(_REPEATS // 4):
        generator = _generator(repeat)
        stream = own[torch.randperm(len(own), generator=generator)]
        alarms.append(_alarmed_at(calibration, stream) is not None)
        others = strange[torch.randint(len(strange), (len(own),), generator=generator)]
        is_other = torch.rand(len(own), generator=generator) < 0.1
        alarm = _alarmed_at(calibration, torch.where(is_other, others, stream))
        delays.append(float(alarm) if alarm else float("inf"))
    return float(np.mean(alarms)), delays


def _alarmed_at(calibration: Calibration, stream: Tensor) -> int | None:
    test = Martingale(alpha=0.01)
    test.bet(OnlineRanks(calibration).rank(stream).p_value)
    return test.alarmed_at


def _stored(name: str) -> np.ndarray:
    """Test images of the repository. -> uint8 (N, 1, H, W)."""
    x: np.ndarray = np.load(ROOT / "tests" / "data" / f"{name}.npz")["x"]
    return x.reshape(len(x), 1, *x.shape[-2:])


def _cut(num: int, repeat: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(num, generator=_generator(repeat))
    return order[:_NUM], order[_NUM:]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
