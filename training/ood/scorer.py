"""What a bundle says of images as it is served: scores, p-values, and how long that takes."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.core.bundle.bundle import Bundle
from models.core.bundle.onnx import served
from models.core.contract.rows import Rows
from models.core.ood.register import SCORES, check_known
from training.data.readers import DataError
from training.measure.calibrate import columns

_BATCH = 64
"""The service's largest step."""


@dataclass(frozen=True)
class Scored:
    """Scores of N images, each (N,), higher = stranger."""

    default: np.ndarray  # float32, as calibrated
    p_value: np.ndarray  # float64, of the default score
    others: dict[str, np.ndarray]  # a screen's components, or the other calibrated scores
    confidence: np.ndarray | None = None  # probability of the class that is said
    said: np.ndarray | None = None  # its index; both None where no class is said


class Scorer:
    """A bundle's default score, and beside it all others that it has.

    Raises DataError if the bundle is not calibrated, or is not about images.
    """

    def __init__(self, bundle: Bundle) -> None:
        if not bundle.calibrations:
            raise DataError(f"{bundle.name} has no calibration: its scores mean nothing yet")
        if bundle.preprocessing is None:
            raise DataError(f"{bundle.name} is about vectors: only images can be screened")
        check_known(bundle.calibrations)
        self.bundle = bundle
        self.form = bundle.preprocessing
        torch.set_num_threads(1)  # as the service
        self.model = served(bundle)
        self.name, *self._more = bundle.calibrations
        self.calibration = bundle.calibrations[self.name]
        self.unit = SCORES[self.name].unit
        self._operations = self.model.operations()

    @property
    def other_names(self) -> tuple[str, ...]:
        """Names of the scores beside the default one: each once, in a fixed order."""
        if not (names := self.model.score_names):
            return tuple(self._more)
        return tuple(
            name if names.count(name) == 1 else f"{name}_{names[: i + 1].count(name)}"
            for i, name in enumerate(names)
        )

    def __call__(self, x: np.ndarray) -> Scored:
        """Shape: uint8 (N, C, H, W), in the model's form."""
        parts = [self._scored(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]
        if not parts:
            raise DataError("there are no images")
        names = self.other_names
        return Scored(
            np.concatenate([part.default for part in parts]),
            np.concatenate([part.p_value for part in parts]),
            {name: np.concatenate([part.others[name] for part in parts]) for name in names},
            _joined([part.confidence for part in parts]),
            _joined([part.said for part in parts]),
        )

    def latency_ms(self, x: np.ndarray, repeats: int = 60) -> tuple[float, float, float]:
        """Median and 95th percentile of scoring one image, alone, after a warm-up, and the median
        of the processor time, in which other work on the machine hardly shows."""
        times, busy = [], []
        for i in range(repeats + 5):
            start, start_busy = time.perf_counter(), time.process_time()
            self._default(x[i % len(x)][None], {})
            times.append(1000 * (time.perf_counter() - start))
            busy.append(1000 * (time.process_time() - start_busy))
        median, high = np.quantile(times[5:], (0.5, 0.95))
        return float(median), float(high), float(np.median(busy[5:]))

    @torch.no_grad()
    def _scored(self, x: np.ndarray) -> Scored:
        ran: dict[str, Rows] = {}
        default = self._default(x, ran)
        others = [self._score(name, x, ran) for name in self._more]
        if self.model.score_names:
            others = list(self._rows(SCORES[self.name].operation, x, ran)["scores"].unbind(1))
        return Scored(
            default.numpy(),
            self.calibration.p_value(default).numpy(),
            {n: values.numpy() for n, values in zip(self.other_names, others, strict=True)},
            *self._said(x, ran),
        )

    def _said(self, x: np.ndarray, ran: dict[str, Rows]) -> tuple[np.ndarray | None, ...]:
        """How probable the likeliest class is, and which that is."""
        if "classify" not in self._operations:
            return None, None
        best = self._rows("classify", x, ran)["probabilities"].max(1)
        return best.values.numpy(), best.indices.numpy()

    @torch.no_grad()
    def _default(self, x: np.ndarray, ran: dict[str, Rows]) -> Tensor:
        return self._score(self.name, x, ran).float()

    def _score(self, name: str, x: np.ndarray, ran: dict[str, Rows]) -> Tensor:
        score = SCORES[name]
        rows = self._rows(score.operation, x, ran)
        return score.compute(rows, self.bundle.calibrations[name].reference)

    def _rows(self, name: str, x: np.ndarray, ran: dict[str, Rows]) -> Rows:
        """The columns of an operation; `ran` keeps them for the next score."""
        if name not in ran:
            ran[name] = columns(self.model, name, x)
        return ran[name]


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if given else None
