"""Screens the pictures of a folder, one row of a table a file; broken files do not stop it."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.core.calibration.conformal import benjamini_hochberg
from training.data.folder import picture_of
from training.data.readers import DataError
from training.ood.scorer import Scorer

COLUMNS = ("path", "score", "p_value", "is_ood", "adjusted_p_value", "error")


@dataclass(frozen=True)
class Verdict:
    """What is said of one file."""

    path: str
    score: float = math.nan
    p_value: float = math.nan
    is_ood: bool = False
    adjusted_p_value: float = math.nan
    error: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """As `COLUMNS`; nothing is said of a file that could not be read."""
        if self.error:
            return (self.path, "", "", "", "", self.error)
        numbers = f"{self.score:.9g}", f"{self.p_value:.9g}"
        verdict = "true" if self.is_ood else "false"
        return (self.path, *numbers, verdict, f"{self.adjusted_p_value:.9g}", "")


def screen_files(
    scorer: Scorer,
    folder: Path,
    files: list[Path],
    alpha: float,
    batch: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """A verdict for every file, in order. Raises ValueError if alpha is out of reach.

    Adjusted p-values are those of Benjamini and Hochberg over all files that could be read.
    """
    scorer.calibration.threshold(alpha)
    verdicts: list[Verdict] = []
    for start in range(0, len(files), batch):
        part = files[start : start + batch]
        verdicts += _batch(scorer, folder, part, alpha)
        advance(len(part))
    read = [i for i, verdict in enumerate(verdicts) if not verdict.error]
    p_values = torch.tensor([verdicts[i].p_value for i in read], dtype=torch.float64)
    for i, adjusted in zip(read, benjamini_hochberg(p_values).tolist(), strict=True):
        verdicts[i] = replace(verdicts[i], adjusted_p_value=adjusted)
    return verdicts


def write_csv(verdicts: list[Verdict], path: Path) -> None:
    """A table with a head, one row a file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(verdict.cells for verdict in verdicts)


def _batch(scorer: Scorer, folder: Path, files: list[Path], alpha: float) -> Iterator[Verdict]:
    titles = [file.relative_to(folder).as_posix() for file in files]
    images, errors = [], {}
    for title, file in zip(titles, files, strict=True):
        try:
            images.append(picture_of(file, scorer.form))
        except DataError as error:
            errors[title] = str(error).replace(str(folder), folder.name)
    rows = iter(_scored(scorer, images))
    for title in titles:
        if title in errors:
            yield Verdict(title, error=errors[title])
        else:
            score, p_value = next(rows)
            yield Verdict(title, score, p_value, is_ood=p_value <= alpha)


def _scored(scorer: Scorer, images: list[np.ndarray]) -> list[tuple[float, float]]:
    if not images:
        return []
    scored = scorer(np.stack(images))
    return list(zip(scored.default.tolist(), scored.p_value.tolist(), strict=True))
