"""The training command: python -m training RECIPE [--set key=value] [--out DIR]."""

import logging
import shlex
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.data import DataError
from training.make import make
from training.recipe import recipe as find
from training.recipe import recipes
from training.trainer import Diverged

Settings = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")
]
Out = Annotated[Path, typer.Option(help="Where the bundle's folder goes.")]
Runs = Annotated[Path, typer.Option(help="Where a run keeps its state, to go on if cut off.")]
Name = Annotated[str, typer.Option(help="The bundle's name, if not the recipe's.")]


def train(
    recipe: Annotated[str, typer.Argument(help=f"One of: {', '.join(recipes())}.")],
    settings: Settings = [],  # noqa: B006, typer reads the default and does not share it
    out: Out = Path("bundles"),
    runs: Runs = Path("runs"),
    name: Name = "",
) -> None:
    """Train a model, measure it on its untouched test split and write a bundle."""
    console = Console(stderr=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
    command = f"python -m training {recipe}" + "".join(f" --set {shlex.quote(s)}" for s in settings)
    try:
        changes = dict(_pair(text) for text in settings)
        path = make(name or recipe, find(recipe).changed(changes), runs, out, command)
    except (DataError, ValueError, Diverged) as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        raise typer.Exit(1) from error
    console.print(f"Bundle written to {path}", highlight=False)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text!r}: accepted is KEY=VALUE")
    return key, value


if __name__ == "__main__":
    typer.run(train)
