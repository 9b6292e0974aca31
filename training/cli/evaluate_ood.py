"""The command that evaluates a screen: python -m training evaluate-ood BUNDLE."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from models.core.bundle.bundle import BundleError, load
from training.cli.targets import check_folder
from training.data.readers import DataError
from training.ood.evaluate import evaluate, num_sets
from training.ood.figures import pictures
from training.ood.panel import dataset_of
from training.ood.report import files
from training.ood.sections import guarantee


def evaluate_ood(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")],
    limit: Annotated[int, typer.Option(min=0, help="Images of each other set; 0: all.")] = 2000,
    out: Annotated[
        Path | None, typer.Option(help="Where the report goes, if not BUNDLE/report.")
    ] = None,
    data: Annotated[
        str, typer.Option(help="The bundle's data set, if it does not say: a name or a folder.")
    ] = "",
    folder: Annotated[
        list[str], typer.Option(metavar="NAME=PATH", help="Another set: a folder of images.")
    ] = [],  # noqa: B006, typer reads the default and does not share it
) -> None:
    """Measure what a bundle's scores flag and miss; write ood.md, ood.html and ood.json."""
    console = Console(stderr=True, markup=False)
    target = out or bundle / "report"
    try:
        folders = _folders(folder)
        loaded = load(bundle)
        check_folder(target)
        source = data or dataset_of(loaded)
        if loaded.preprocessing is None:
            raise DataError(f"{loaded.name} is about vectors: only images can be screened")
        with _progress(console) as progress:
            task = progress.add_task("", total=num_sets(source, loaded, folders))

            def advance(name: str) -> None:
                progress.update(task, description=name)
                progress.advance(task)

            evaluation, shown = evaluate(
                loaded,
                source,
                limit=limit,
                folders=folders,
                command=_command(bundle, limit, out, data, folder),
                advance=advance,
            )
    except (DataError, BundleError, ValueError) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", highlight=False)
        raise typer.Exit(1) from error
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files(evaluation, pictures(evaluation, shown)).items():
        (target / name).write_bytes(content)
    console.print(guarantee(evaluation), highlight=False)
    for sentence in evaluation.left_out:
        console.print(sentence, highlight=False)
    console.print(f"Report written to {target / 'ood.md'}, ood.html and ood.json", highlight=False)


def _folders(pairs: list[str]) -> Mapping[str, Path]:
    """Raises ValueError for what is not NAME=PATH, or a name that is given twice."""
    folders: dict[str, Path] = {}
    for text in pairs:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ValueError(f"--folder {text!r}: accepted is NAME=PATH")
        if name in folders:
            raise ValueError(f"--folder {name} is given twice")
        folders[name] = Path(path).expanduser()
    return folders


def _command(bundle: Path, limit: int, out: Path | None, data: str, folder: list[str]) -> str:
    """As a person would type it at the root of the project; other folders by their last part."""
    parts = ["python", "-m", "training", "evaluate-ood", f"bundles/{bundle.name}"]
    parts += ["--limit", str(limit)]
    parts += ["--out", out.name] if out else []
    parts += ["--data", Path(data).name] if data else []
    for pair in folder:
        name, _, path = pair.partition("=")
        parts += ["--folder", f"{name}={Path(path).name}"]
    return shlex.join(parts)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:28}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("sets"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )
