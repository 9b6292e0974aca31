"""The table of a bulk screening: whole under its name or not there, resumable until then."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.data.folder import Found
from training.ood.bulk import COLUMNS, Verdict, title_of
from training.ood.scorer import Scorer


def write_csv(verdicts: Iterable[Verdict], path: Path) -> None:
    """A table with a head, one row a file; under its name only when it is whole."""
    beside = path.with_name(f"{path.name}.tmp")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(verdict.cells for verdict in verdicts)
    beside.replace(path)


class Journal:
    """Verdicts so far, a line each, beside the table that they will become.

    A line tells by size and time whether its file is still the one that was screened. Lines of
    another bundle, and one that was cut off, are not read again.
    """

    def __init__(self, table: Path, folder: Path, scorer: Scorer) -> None:
        self.path = table.with_name(f"{table.name}.part")
        self.folder = folder
        about = scorer.bundle
        self._head = {"bundle": f"{about.name}@{about.version}", "score": scorer.name}

    def known(self, files: Iterable[Found]) -> dict[str, Verdict]:
        """Verdicts of an earlier run about these files, by path in the table."""
        head, *lines = self._lines() or [{}]
        if head != self._head:
            return {}
        stamps = {title_of(self.folder, found.path): _stamp(found.path) for found in files}
        return {
            line["path"]: Verdict(**{k: v for k, v in line.items() if k != "stamp"})
            for line in lines
            if "stamp" in line and stamps.get(line["path"]) == line["stamp"]
        }

    def begin(self, files: Iterable[Found], known: Mapping[str, Verdict]) -> None:
        """Keep what is known, and nothing else. Raises OSError if it cannot be written."""
        self._paths = {title_of(self.folder, found.path): found.path for found in files}
        self.path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")
        self.add(known.values())

    def add(self, verdicts: Iterable[Verdict]) -> None:
        """Note some verdicts more."""
        with self.path.open("a", encoding="utf-8") as file:
            for verdict in verdicts:
                line = {
                    "path": verdict.path,
                    "score": verdict.score,
                    "p_value": verdict.p_value,
                    "error": verdict.error,
                    "skipped": verdict.skipped,
                    "stamp": _stamp(self._paths[verdict.path]),
                }
                file.write(json.dumps(line) + "\n")

    def end(self) -> None:
        """The table is whole: nothing is left to resume."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        lines = []
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:  # where the run was cut off
                break
        return lines


def _stamp(path: Path) -> list[int]:
    """Size and time of the last change of a file; empty where it cannot be told."""
    try:
        about = path.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]
