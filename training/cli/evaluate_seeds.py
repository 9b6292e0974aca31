"""The command that adds other training seeds to a report: python -m training evaluate-seeds."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.data.readers import DataError
from training.ood.report import PICTURES, files
from training.ood.seeds import read, with_seeds


def evaluate_seeds(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder of a bundle.")],
    others: Annotated[
        list[Path],
        typer.Argument(metavar="OTHER...", help="Bundles of the same screen with other seeds."),
    ],
) -> None:
    """Write into a bundle's report what evaluate-ood said of the same screen with other seeds."""
    console = Console(stderr=True, markup=False)
    report = bundle / "report"
    try:
        evaluation = with_seeds(
            read(report / "ood.json"), [read(other / "report" / "ood.json") for other in others]
        )
        paths = [report / name for name in PICTURES]
        shown = {path.name: path.read_bytes() for path in paths if path.exists()}
        for name, content in files(evaluation, shown).items():
            (report / name).write_bytes(content)
    except (DataError, OSError) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    console.print(
        f"{1 + len(evaluation.other_seeds)} trainings in {report / 'ood.md'}, ood.html and "
        "ood.json",
        highlight=False,
    )
