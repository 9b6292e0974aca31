"""Whether what is screened changes: a test and a window of p-values for every calibrated score."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from models.core.calibration import kolmogorov
from models.core.calibration.conformal import Calibration
from models.core.calibration.martingale import Martingale
from models.core.calibration.online_conformal import OnlineRanks
from service.catalog.description import ModelDescription
from service.metrics import Metrics
from service.results.results import number, rounded

NUM_BINS = 10
_LOW = (0.05, 0.01)


@dataclass(frozen=True)
class LowShare:
    """The share of the window's p-values that are at most `p_value`; None of an empty window."""

    p_value: float
    share: float | None
    expected: float


@dataclass(frozen=True)
class TwoSample:
    """Kolmogorov and Smirnov's test of the window's scores against the calibration scores."""

    statistic: float
    p_value: float


@dataclass(frozen=True)
class Window:
    """The last p-values beside what is expected of images like the calibration set."""

    size: int
    num_images: int
    histogram: list[int]
    """Counts in (0, 0.1], (0.1, 0.2], ..., (0.9, 1]."""
    expected: list[float]
    at_most: list[LowShare]
    kolmogorov_smirnov: TwoSample | None


@dataclass(frozen=True)
class DriftTest:
    """The bet against the stream being like the calibration set."""

    log10_value: float | None
    log10_max: float | None
    log10_threshold: float
    alpha: float
    alarmed: bool
    alarmed_at: int | None
    guarantee: str


@dataclass(frozen=True)
class DriftReport:
    """All that is known of one score's stream since the start or the last reset."""

    model: str
    score_name: str
    source: str
    num_calibration: int
    num_seen: int
    window: Window
    test: DriftTest


class _Stream:
    """The images that one score has screened, since the start or the last reset."""

    def __init__(self, calibration: Calibration, alpha: float, size: int) -> None:
        self.size = size
        self.test = Martingale(alpha)
        self._ranks = OnlineRanks(calibration)
        self._cells = np.empty(0, np.int64)
        self._num_calibration = calibration.num
        # The smallest p-value is 1 / (N + 1): these are their numerators, by cell.
        self._numerators = self._ranks.calibration_counts.cumsum() + 1

    def see(self, scores: Tensor) -> np.ndarray:
        """Take images in; their p-values as answers have them. Shapes: (B,) -> (B,)."""
        cells, p_value = self._ranks.rank(scores)
        self.test.bet(p_value)
        self._cells = np.concatenate((self._cells, cells))[-self.size :]
        p_values: np.ndarray = self._numerators[cells] / (self._num_calibration + 1)
        return p_values

    def window(self) -> Window:
        """The last p-values beside what is expected of images like the calibration set."""
        whole, num = self._num_calibration + 1, len(self._cells)
        seen, possible = self._numerators[self._cells], np.arange(1, whole + 1)
        expected = _histogram(possible, whole) * (num / whole)
        low = [
            LowShare(
                p_value=p,
                share=rounded(float((seen / whole <= p).mean())) if num else None,
                expected=rounded(float((possible / whole <= p).mean())),
            )
            for p in _LOW
        ]
        return Window(
            size=self.size,
            num_images=num,
            histogram=_histogram(seen, whole).tolist(),
            expected=[rounded(value) for value in expected.tolist()],
            at_most=low,
            kolmogorov_smirnov=self._two_sample() if num else None,
        )

    def _two_sample(self) -> TwoSample:
        counts = self._ranks.calibration_counts
        statistic = kolmogorov.distance(np.bincount(self._cells, minlength=len(counts)), counts)
        p_value = kolmogorov.p_value(statistic, len(self._cells), self._num_calibration)
        return TwoSample(statistic=rounded(statistic), p_value=rounded(p_value))


class DriftMonitor:
    """A stream for each calibrated score of each model that has screened anything.

    On the event loop's thread, like all that answers requests: a call is over before another one
    begins, and images count in the order in which their answers are written.
    """

    def __init__(self, alpha: float, window: int, metrics: Metrics, log: Any) -> None:
        self._alpha, self._size = alpha, window
        self._metrics, self._log = metrics, log
        self._streams: dict[tuple[str, str], _Stream] = {}

    def see(self, model: ModelDescription, score_name: str, scores: Tensor) -> None:
        """Take in what a score said of the rows of one request. Shape: (B,)."""
        stream = self._stream(model, score_name)
        before = stream.test.alarmed_at
        p_values = stream.see(scores)
        labels = (model.name, score_name)
        observe = self._metrics.p_value.labels(*labels).observe
        for p_value in p_values.tolist():
            observe(p_value)
        self._publish(labels, stream)
        if before is None and stream.test.alarmed_at is not None:
            self._metrics.drift_alarms.labels(*labels).inc()
            self._log.warning(
                "drift", model=model.label, score=score_name, num_seen=stream.test.alarmed_at
            )

    def reset(self, model: ModelDescription, score_name: str) -> None:
        """Forget what was seen, and test anew."""
        self._streams.pop((model.label, score_name), None)
        labels = (model.name, score_name)
        self._publish(labels, self._stream(model, score_name))

    def report(self, model: ModelDescription, score_name: str) -> DriftReport:
        """All that is known of a stream."""
        stream = self._stream(model, score_name)
        test = stream.test
        noun = "images" if model.takes_images else "rows"
        num = model.calibrations[score_name].num
        return DriftReport(
            model=model.label,
            score_name=score_name,
            source=model.calibration_source,
            num_calibration=num,
            num_seen=test.num,
            window=stream.window(),
            test=DriftTest(
                log10_value=number(_log10(test.log_value)),
                log10_max=number(_log10(test.log_max)),
                log10_threshold=rounded(_log10(test.log_threshold)),
                alpha=self._alpha,
                alarmed=test.alarmed_at is not None,
                alarmed_at=test.alarmed_at,
                guarantee=f"while {noun} are independent draws from the source of the {num} "
                f"calibration {noun}, each sent once, the chance that this test ever alarms is at "
                f"most {self._alpha:g}, however many come, averaged over draws of that set; how "
                "late a change is noticed it does not bound",
            ),
        )

    def _stream(self, model: ModelDescription, score_name: str) -> _Stream:
        key = (model.label, score_name)
        if key not in self._streams:
            calibration = model.calibrations[score_name]
            self._streams[key] = _Stream(calibration, self._alpha, self._size)
        return self._streams[key]

    def _publish(self, labels: tuple[str, str], stream: _Stream) -> None:
        self._metrics.drift_capital.labels(*labels).set(_log10(stream.test.log_value))
        self._metrics.drift_alarmed.labels(*labels).set(stream.test.alarmed_at is not None)


def _histogram(numerators: np.ndarray, whole: int) -> np.ndarray:
    """Counts of p-values numerators / whole in (0, 0.1], (0.1, 0.2], ..., compared exactly."""
    bins = (NUM_BINS * numerators + whole - 1) // whole - 1
    return np.bincount(bins, minlength=NUM_BINS)


def _log10(nats: float) -> float:
    return nats / math.log(10)
