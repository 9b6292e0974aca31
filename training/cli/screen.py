"""The command that screens a folder of images: python -m training screen FOLDER --id BUNDLE."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.core.bundle.bundle import BundleError, load
from training.cli.targets import check_file
from training.data.folder import files_below, shown
from training.data.readers import DataError
from training.ood.bulk import Verdict, screen_files
from training.ood.scorer import Scorer
from training.ood.table import Journal, write_csv


def screen(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Images to be screened.")],
    bundle: Annotated[
        Path, typer.Option("--id", metavar="BUNDLE", help="What in-distribution means.")
    ],
    alpha: Annotated[float, typer.Option(help="Rate of false alarms.")] = 0.05,
    out: Annotated[Path, typer.Option(help="The table.")] = Path("screened.csv"),
    batch: Annotated[int, typer.Option(min=1, help="Files that are read at once.")] = 64,
) -> None:
    """Write a score, a p-value and a verdict for every image of a folder, as CSV.

    Every file has a row. A run that was cut off goes on: its rows are in OUT.part until then.
    """
    console = Console(stderr=True, markup=False)
    try:
        check_file(out)
        files = files_below(folder)
        if not files:
            raise DataError(f"{folder} holds no files")
        scorer = Scorer(load(bundle))
        scorer.calibration.threshold(alpha)
        journal = Journal(out, folder, scorer)
        known = journal.known(files)
        journal.begin(files, known)
        with Progress(
            TextColumn("screening"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as progress:
            task = progress.add_task("", total=len(files), completed=len(known))

            def advance(new: list[Verdict]) -> None:
                journal.add(new)
                progress.advance(task, len(new))

            verdicts = screen_files(scorer, folder, files, alpha, batch, advance, known)
        write_csv(verdicts, out)
        journal.end()
    except (DataError, BundleError, ValueError, OSError) as error:
        console.print(f"{type(error).__name__}: {shown(str(error))}", style="red", highlight=False)
        raise typer.Exit(1) from error
    if known:
        console.print(
            f"{len(known):,} files were screened before the run was cut off.", style="dim"
        )
    for line in summary(verdicts, scorer, alpha):
        console.print(line, highlight=False, markup=False)
    console.print(shown(f"Table written to {out}"), highlight=False, markup=False)


def summary(verdicts: list[Verdict], scorer: Scorer, alpha: float) -> list[str]:
    """Totals of a folder that was screened, in lines for a person."""
    read = [verdict for verdict in verdicts if not verdict.error]
    flagged = sum(verdict.is_ood for verdict in read)
    discovered = sum(verdict.adjusted_p_value <= alpha for verdict in read)
    bundle, num = scorer.bundle, len(scorer.calibration.scores)
    lines = [
        f"{len(read):,} images read, {flagged:,} flagged at alpha {alpha:g}; of images like those "
        f"of the calibration about {alpha * len(read):,.0f} would be.",
        f"{discovered:,} are flagged with a false discovery rate of at most {alpha:g} "
        "(Benjamini and Hochberg).",
        f"Judged by {bundle.name}@{bundle.version}, score {scorer.name}, against {num:,} "
        f"calibration images: {bundle.calibration_source}.",
    ]
    if read and 1 / (num + 1) > alpha / len(read):
        lines.append(
            f"A single strange image among {len(read):,} cannot be discovered with {num:,} "
            "calibration images; look at p_value as well."
        )
    for status, words in (("broken", "could not be read"), ("skipped", "were skipped")):
        unread = [verdict for verdict in verdicts if verdict.status == status]
        if unread:
            lines.append(f"{len(unread):,} {words}; the table says why, the first being:")
            lines += [f"  {verdict.path}: {verdict.error}" for verdict in unread[:5]]
    return lines
