"""Screens the pictures of a folder, one row of a table a file; broken files do not stop it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.core.calibration.conformal import benjamini_hochberg
from training.data.folder import Found, picture_of, shown
from training.ood.scorer import Scorer

COLUMNS = ("path", "score", "p_value", "is_ood", "adjusted_p_value", "error", "status")


@dataclass(frozen=True)
class Verdict:
    """What is said of one file."""

    path: str
    score: float = math.nan
    p_value: float = math.nan
    is_ood: bool = False
    adjusted_p_value: float = math.nan
    error: str = ""
    skipped: bool = False
    """Whether it is no picture that can be read, rather than a broken one."""

    @property
    def status(self) -> str:
        """What became of the file, in a word."""
        return "skipped" if self.skipped else "broken" if self.error else "scored"

    @property
    def cells(self) -> tuple[str, ...]:
        """As `COLUMNS`; nothing is said of a file that could not be read."""
        if self.error:
            return (self.path, "", "", "", "", self.error, self.status)
        numbers = f"{self.score:.9g}", f"{self.p_value:.9g}"
        verdict = "true" if self.is_ood else "false"
        adjusted = f"{self.adjusted_p_value:.9g}"
        return (self.path, *numbers, verdict, adjusted, "", self.status)


def title_of(folder: Path, file: Path) -> str:
    """A file's path in the table."""
    return shown(file.relative_to(folder).as_posix())


def screen_files(
    scorer: Scorer,
    folder: Path,
    files: Sequence[Found],
    alpha: float,
    batch: int,
    advance: Callable[[list[Verdict]], None] = lambda _: None,
    known: Mapping[str, Verdict] | None = None,
) -> list[Verdict]:
    """A verdict for every file, in order. Raises ValueError if alpha is out of reach.

    Adjusted p-values are those of Benjamini and Hochberg over all files that could be read.
    `known` has verdicts of an earlier run by path; `advance` is told the others, batch by batch.
    """
    scorer.calibration.threshold(alpha)
    by_path = dict(known or {})
    left = [found for found in files if title_of(folder, found.path) not in by_path]
    for start in range(0, len(left), batch):
        new = list(_batch(scorer, folder, left[start : start + batch]))
        by_path |= {verdict.path: verdict for verdict in new}
        advance(new)
    verdicts = [by_path[title_of(folder, found.path)] for found in files]
    read = [i for i, verdict in enumerate(verdicts) if not verdict.error]
    p_values = torch.tensor([verdicts[i].p_value for i in read], dtype=torch.float64)
    for i, adjusted in zip(read, benjamini_hochberg(p_values).tolist(), strict=True):
        is_ood = verdicts[i].p_value <= alpha
        verdicts[i] = replace(verdicts[i], adjusted_p_value=adjusted, is_ood=is_ood)
    return verdicts


def _batch(scorer: Scorer, folder: Path, files: Sequence[Found]) -> Iterator[Verdict]:
    images, unread = [], {}
    for found in files:
        if found.skipped:
            unread[found] = found.skipped
            continue
        try:
            images.append(picture_of(found.path, scorer.form))
        except Exception as error:  # whatever a decoder raises is about this file alone
            why = str(error) or type(error).__name__
            unread[found] = shown(why.replace(str(folder), folder.name))
    rows = iter(_scored(scorer, images))
    for found in files:
        title = title_of(folder, found.path)
        if found in unread:
            yield Verdict(title, error=unread[found], skipped=not found.is_picture)
        else:
            yield Verdict(title, *next(rows))


def _scored(scorer: Scorer, images: list[np.ndarray]) -> list[tuple[float, float]]:
    if not images:
        return []
    scored = scorer(np.stack(images))
    return list(zip(scored.default.tolist(), scored.p_value.tolist(), strict=True))
